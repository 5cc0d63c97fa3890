/* From reset to main: the vector table, .data, .bss; main's result is the exit status of qemu. */

#include <stdint.h>
#include <string.h>
#include <unistd.h>

extern char data_start[], data_end[], data_load[], bss_start[], bss_end[], stack_top[];

int main(void);
void initialise_monitor_handles(void); /* newlib's: without it the exit status is lost */
void Reset_Handler(void);
void SysTick_Handler(void);

static void fault(void) {
    _exit(99);
}

void Reset_Handler(void) {
    memcpy(data_start, data_load, (size_t)(data_end - data_start));
    memset(bss_start, 0, (size_t)(bss_end - bss_start));
    initialise_monitor_handles();
    _exit(main());
}

typedef union vector {
    void *address;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    {.address = stack_top},       {.handler = Reset_Handler}, {.handler = fault}, /* NMI */
    {.handler = fault},                                                           /* hard fault */
    {.handler = fault}, /* memory management fault */
    {.handler = fault}, /* bus fault */
    {.handler = fault}, /* usage fault */
    {.handler = fault},           {.handler = fault},         {.handler = fault},
    {.handler = fault},           {.handler = fault}, /* supervisor call */
    {.handler = fault},                               /* debug monitor */
    {.handler = fault},           {.handler = fault}, /* PendSV */
    {.handler = SysTick_Handler},
};
