/* qemu's virt machine with a 32-bit RISC-V. The C library (picolibc) starts main. */

#include "../board.h"

#include <unistd.h>

typedef struct uart { /* a 16550 */
    volatile uint8_t data, interrupt, fifo, line, modem, state;
} uart;

#define UART          ((uart *)0x10000000)
#define TIMER_COMPARE ((volatile uint32_t *)0x02004000) /* the low half, then the high one */
#define TIMER_NOW     ((volatile uint32_t *)0x0200BFF8)

enum {
    UART_TX_EMPTY = 0x20,
    STATUS_INTERRUPTS = 1 << 3,  /* mstatus.MIE */
    TIMER_INTERRUPT = 1 << 7,    /* mie.MTIE */
    CAUSE_TIMER = INT32_MIN + 7, /* mcause */
    PERIOD = 1000                /* of the clock of 10 MHz */
};

void board_write(const char *text, size_t length, void *user) {
    (void)user;
    for (size_t i = 0; i < length; i++) {
        while (!(UART->state & UART_TX_EMPTY)) {
        }
        UART->data = (uint8_t)text[i];
    }
}

uint32_t board_disable_interrupts(void) {
    uint32_t status;
    __asm__ volatile("csrrci %0, mstatus, 8" : "=r"(status) : : "memory");
    return status & STATUS_INTERRUPTS;
}

void board_restore_interrupts(uint32_t status) {
    __asm__ volatile("csrs mstatus, %0" : : "r"(status) : "memory");
}

/* While the halves change, the comparison is with a time that never comes. The high half of the
   time stays 0 for the first seven minutes. */
static void next_interrupt(void) {
    TIMER_COMPARE[1] = UINT32_MAX;
    TIMER_COMPARE[0] = TIMER_NOW[0] + PERIOD;
    TIMER_COMPARE[1] = TIMER_NOW[1];
}

__attribute__((interrupt, aligned(4))) static void trap(void) {
    int32_t cause;
    __asm__ volatile("csrr %0, mcause" : "=r"(cause));
    if (cause != CAUSE_TIMER) {
        _exit(99);
    }
    next_interrupt();
    timer_interrupt();
}

/* qemu's serial port needs no setup. */
void board_start(void) {
    __asm__ volatile("csrw mtvec, %0" : : "r"(trap));
    __asm__ volatile("csrs mstatus, %0" : : "r"(STATUS_INTERRUPTS));
}

void board_start_timer(void) {
    next_interrupt();
    __asm__ volatile("csrs mie, %0" : : "r"(TIMER_INTERRUPT));
}

void board_stop_timer(void) {
    __asm__ volatile("csrc mie, %0" : : "r"(TIMER_INTERRUPT));
}
