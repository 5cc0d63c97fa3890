/* The BBC micro:bit: Nordic's nRF51822, a Cortex-M0 with 16 KiB of RAM. */

#include "../board.h"
#include "cortex_m.h"

/* A register by its address, as Nordic's manual lists them. */
#define REGISTER(address) (*(volatile uint32_t *)(address))

#define UART_START_TX   REGISTER(0x40002008)
#define UART_TX_READY   REGISTER(0x4000211C)
#define UART_ENABLE     REGISTER(0x40002500)
#define UART_PIN_TX     REGISTER(0x4000250C)
#define UART_DATA       REGISTER(0x4000251C)
#define UART_BAUD_RATE  REGISTER(0x40002524)
#define TIMER_START     REGISTER(0x40008000)
#define TIMER_STOP      REGISTER(0x40008004)
#define TIMER_COMPARED  REGISTER(0x40008140)
#define TIMER_SHORTCUTS REGISTER(0x40008200)
#define TIMER_INTERRUPT REGISTER(0x40008304)
#define TIMER_WIDTH     REGISTER(0x40008508)
#define TIMER_PRESCALER REGISTER(0x40008510)
#define TIMER_COMPARE   REGISTER(0x40008540)
#define NVIC_ENABLE     REGISTER(0xE000E100)

enum {
    UART_ON = 4,
    UART_115200 = 0x01D7E000,
    UART_PIN = 24,
    TIMER_BITS_32 = 3,
    TIMER_COMPARE_CLEARS = 1 << 0,
    TIMER_COMPARE_INTERRUPTS = 1 << 16,
    TIMER_VECTOR = 1 << 8
};

void board_start(void) {
    UART_PIN_TX = UART_PIN;
    UART_BAUD_RATE = UART_115200;
    UART_ENABLE = UART_ON;
    UART_START_TX = 1;
}

void board_write(const char *text, size_t length, void *user) {
    (void)user;
    for (size_t i = 0; i < length; i++) {
        UART_TX_READY = 0;
        UART_DATA = (unsigned char)text[i];
        while (UART_TX_READY == 0) {
        }
    }
}

void board_start_timer(void) {
    TIMER_PRESCALER = 0; /* 16 MHz */
    TIMER_WIDTH = TIMER_BITS_32;
    TIMER_COMPARE = 1000;
    TIMER_SHORTCUTS = TIMER_COMPARE_CLEARS;
    TIMER_INTERRUPT = TIMER_COMPARE_INTERRUPTS;
    NVIC_ENABLE = TIMER_VECTOR;
    TIMER_START = 1;
}

void board_stop_timer(void) {
    TIMER_STOP = 1;
}

void TIMER0_Handler(void) {
    TIMER_COMPARED = 0;
    timer_interrupt();
}
