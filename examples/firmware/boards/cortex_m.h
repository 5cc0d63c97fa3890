/* The interrupts of the vector table. A board has one of them. */

#ifndef CORTEX_M_H
#define CORTEX_M_H

__attribute__((weak)) void SysTick_Handler(void);
__attribute__((weak)) void TIMER0_Handler(void);

#endif
