/* The part of a board that the story in main.c needs. boards/ has one file for each machine. */

#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Sets up the serial port. */
void board_start(void);

/* Writes to the serial port, and returns when all is sent. It is an mtrace_write_fn. */
void board_write(const char *text, size_t length, void *user);

static inline void board_print_line(const char *text) {
    board_write(text, strlen(text), NULL);
    board_write("\n", 1, NULL);
}

/* Waits for a byte from the serial port. Only console.c reads, and mps2.c has it. */
char board_read(void);

/* Disables interrupts and returns their state from before, which board_restore_interrupts takes. */
uint32_t board_disable_interrupts(void);
void board_restore_interrupts(uint32_t state);

/* Calls timer_interrupt() from an interrupt, many times a second, until it is stopped. */
void board_start_timer(void);
void board_stop_timer(void);

/* main.c has it. */
void timer_interrupt(void);

#endif
