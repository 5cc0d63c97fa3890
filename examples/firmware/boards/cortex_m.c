/* Every Cortex-M: from reset to main, interrupts off and on. main's result is the exit status of
   qemu. */

#include "../board.h"
#include "cortex_m.h"

#include <string.h>
#include <unistd.h>

extern char data_start[], data_end[], data_load[], bss_start[], bss_end[], stack_top[];

int main(void);
void initialise_monitor_handles(void); /* newlib's: without it the exit status is lost */
void Reset_Handler(void);

#ifdef __ARM_FP
static void enable_fpu(void) {
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb" : : : "memory");
}
#else
static void enable_fpu(void) {}
#endif

static void fault(void) {
    _exit(99);
}

void Reset_Handler(void) {
    enable_fpu();
    memcpy(data_start, data_load, (size_t)(data_end - data_start));
    memset(bss_start, 0, (size_t)(bss_end - bss_start));
    initialise_monitor_handles();
    _exit(main());
}

uint32_t board_disable_interrupts(void) {
    uint32_t primask;
    __asm__ volatile("mrs %0, primask\n\tcpsid i" : "=r"(primask) : : "memory");
    return primask;
}

void board_restore_interrupts(uint32_t primask) {
    __asm__ volatile("msr primask, %0" : : "r"(primask) : "memory");
}

typedef union vector {
    void *address;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[] = {
    [0] = {.address = stack_top},
    [1] = {.handler = Reset_Handler},
    [2] = {.handler = fault}, /* NMI */
    [3] = {.handler = fault}, /* hard fault */
    [4] = {.handler = fault}, /* memory management fault */
    [5] = {.handler = fault}, /* bus fault */
    [6] = {.handler = fault}, /* usage fault */
    [11] = {.handler = fault},
    [14] = {.handler = fault},
    [15] = {.handler = SysTick_Handler},
    [16 + 8] = {.handler = TIMER0_Handler}, /* the nRF51's */
};
