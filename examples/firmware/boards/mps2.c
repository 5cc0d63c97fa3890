/* Arm's MPS2 board with image AN385 (Cortex-M3) or AN386 (Cortex-M4 with FPU). */

#include "../board.h"
#include "cortex_m.h"

typedef struct uart {
    volatile uint32_t data, state, control, interrupt, divider;
} uart;

typedef struct timer {
    volatile uint32_t control, reload, value;
} timer;

#define UART0   ((uart *)0x40004000)
#define SYSTICK ((timer *)0xE000E010)

enum { UART_ENABLE = 3, UART_TX_FULL = 1, UART_RX_FULL = 2, TIMER_ON = 7 };

void board_start(void) {
    UART0->divider = 16;
    UART0->control = UART_ENABLE;
}

void board_write(const char *text, size_t length, void *user) {
    (void)user;
    for (size_t i = 0; i < length; i++) {
        while (UART0->state & UART_TX_FULL) {
        }
        UART0->data = (unsigned char)text[i];
    }
}

char board_read(void) {
    while (!(UART0->state & UART_RX_FULL)) {
    }
    return (char)UART0->data;
}

void board_start_timer(void) {
    SYSTICK->reload = 999;
    SYSTICK->value = 0;
    SYSTICK->control = TIMER_ON;
}

void board_stop_timer(void) {
    SYSTICK->control = 0;
}

void SysTick_Handler(void) {
    timer_interrupt();
}
