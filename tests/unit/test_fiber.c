#include "../../src/worker/fiber.h"
#include "../../src/worker/timers.h"
#include "unit.h"

#include <check.h>
#include <errno.h>
#include <fenv.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef sysconf /* fiber.c is compiled to call this, as on a machine with large pages */
long sysconf(int name)
{
    return name == _SC_PAGESIZE ? 65536 : -1;
}
#endif

enum { FIBERS = 50, TURNS = 20 };

static struct fiber here, fibers[FIBERS];
static int steps[FIBERS];

static void open_all(void)
{
    for (int i = 0; i < FIBERS; i++)
        ck_assert_int_eq(fiber_open(&fibers[i]), 0);
}

static void close_all(void)
{
    for (int i = 0; i < FIBERS; i++)
        fiber_close(&fibers[i]);
}

/* Keeps integers and floating-point numbers in registers and on its stack across each switch. */
static void count(void *argument)
{
    int number = (int)(intptr_t)argument;
    char bytes[3000];
    double sum = number;
    memset(bytes, number, sizeof bytes);
    for (int turn = 0; turn < TURNS; turn++) {
        sum += 0.5;
        steps[number]++;
        fiber_suspend(&fibers[number]);
    }
    ck_assert(sum > number + TURNS / 2 - 0.1 && sum < number + TURNS / 2 + 0.1);
    for (size_t i = 0; i < sizeof bytes; i++)
        ck_assert_int_eq(bytes[i], number);
}

START_TEST(each_goes_on_where_it_left_off)
{
    open_all();
    for (int life = 0; life < 3; life++) {
        memset(steps, 0, sizeof steps);
        for (int i = 0; i < FIBERS; i++)
            fiber_start(&fibers[i], count, (void *)(intptr_t)i);
        for (int turn = 0; turn <= TURNS; turn++)
            for (int i = 0; i < FIBERS; i++) {
                ck_assert(!fibers[i].ended);
                fiber_resume(&here, &fibers[i]);
                ck_assert_int_eq(steps[i], turn < TURNS ? turn + 1 : TURNS);
            }
        for (int i = 0; i < FIBERS; i++)
            ck_assert(fibers[i].ended);
        fiber_shrink(&fibers[life]); /* it can be started again */
    }
    close_all();
}
END_TEST

static void round_up(void *argument)
{
    (void)argument;
    ck_assert_int_eq(fegetround(), FE_TONEAREST);
    fesetround(FE_UPWARD);
    fiber_suspend(&fibers[0]);
    ck_assert_int_eq(fegetround(), FE_UPWARD);
}

START_TEST(how_to_round_is_its_own)
{
    ck_assert_int_eq(fiber_open(&fibers[0]), 0);
    fiber_start(&fibers[0], round_up, NULL);
    fiber_resume(&here, &fibers[0]);
    ck_assert_int_eq(fegetround(), FE_TONEAREST);
    fiber_resume(&here, &fibers[0]);
    ck_assert_int_eq(fegetround(), FE_TONEAREST);
    ck_assert(fibers[0].ended);
    fiber_close(&fibers[0]);
}
END_TEST

static void stand_right(void *argument)
{
    _Alignas(16) volatile char aligned[16] = {0};
    *(bool *)argument = (uintptr_t)aligned % 16 == 0;
}

START_TEST(the_stack_stands_as_a_function_finds_it)
{
    bool right = false;
    ck_assert_int_eq(fiber_open(&fibers[0]), 0);
    fiber_start(&fibers[0], stand_right, &right);
    fiber_resume(&here, &fibers[0]);
    ck_assert(right);
    fiber_close(&fibers[0]);
}
END_TEST

/* Touches one page after the other, downwards, until a guard page. */
static void overrun(void *argument)
{
    volatile char *at = (volatile char *)&argument;
    for (size_t depth = 0; depth <= 2 * FIBER_STACK; depth += 1024)
        at[-(ptrdiff_t)depth] = 1;
    _exit(0); /* it wrote below its stack */
}

START_TEST(below_a_stack_nothing_can_be_touched)
{
    int status;
    open_all();
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        fiber_start(&fibers[FIBERS / 2], overrun, NULL);
        fiber_resume(&here, &fibers[FIBERS / 2]);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert(WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS);
    close_all();
}
END_TEST

/* Whatever the order of numbers and times, the earliest comes next. */
START_TEST(timers_come_in_their_order)
{
    enum { MOST = 500 };
    static usec due[MOST];
    struct timers timers;
    unsigned seed = 7;
    ck_assert_int_eq(timers_open(&timers, MOST), 0);
    ck_assert(timers_next(&timers) == USEC_NEVER);
    for (int i = 0; i < 5 * MOST; i++) {
        uint32_t number = (uint32_t)rand_r(&seed) % MOST;
        usec when = 1 + rand_r(&seed) % 1000;
        timers_set(&timers, number, when);
        if (!due[number] || when < due[number]) /* a later time changes nothing */
            due[number] = when;
    }
    for (usec last = 0; timers_next(&timers) != USEC_NEVER;) {
        usec next = timers_next(&timers);
        uint32_t number = timers_take(&timers);
        ck_assert(next >= last);
        ck_assert(next == due[number]);
        due[number] = 0;
        last = next;
    }
    for (int i = 0; i < MOST; i++)
        ck_assert(due[i] == 0);
    timers_close(&timers);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("fiber");
    tcase_add_test(tests, each_goes_on_where_it_left_off);
    tcase_add_test(tests, how_to_round_is_its_own);
    tcase_add_test(tests, the_stack_stands_as_a_function_finds_it);
    tcase_add_test(tests, below_a_stack_nothing_can_be_touched);
    tcase_add_test(tests, timers_come_in_their_order);
    return unit_run("fiber", tests);
}
