/* Decisions about a worker that has to end. These workers have no process that a signal could
 * reach: next_signal and deadline show what would be sent. */
#include "../../src/master/stop.h"
#include "unit.h"

#include <check.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOW = 1000 * USEC_SECOND, LATER = NOW + 30 * USEC_SECOND, STOP_SIGNAL = SIGUSR1 };

static struct slot slot;
static struct overview_worker shown;
static struct resources resources;
static struct pool_config conf;
static struct worker worker;
static struct notify notify;

/* Forks a child that waits, and that only SIGKILL ends: the others are blocked before the fork. */
static pid_t fork_deaf(void)
{
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    while (pid == 0)
        pause();
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}

static void begin(void)
{
    slot = (struct slot){.state = SLOT_IDLE, .ready = 1, .since = NOW};
    shown = (struct overview_worker){0};
    resources = (struct resources){0};
    notify = (struct notify){0};
    conf = (struct pool_config){.handler = &handler_echo.section, .seats = 1};
    worker = (struct worker){.slot = &slot,
                             .seats = 1,
                             .shown = &shown,
                             .resources = &resources,
                             .conf = &conf,
                             .deadline = USEC_NEVER};
    worker.pid = fork_deaf();
    ck_assert_int_gt(worker.pid, 0);
}

static void end(void)
{
    kill(worker.pid, SIGKILL);
    waitpid(worker.pid, NULL, 0);
}

static void becomes_program(void)
{
    worker.app_policy.stop_signal = STOP_SIGNAL;
    slot.program = worker.pid;
}

/* Which of these signals are pending in the child. */
static bool was_sent(int number)
{
    char path[64], line[256];
    unsigned long long pending = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)worker.pid);
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "ShdPnd: %llx", &pending) == 1)
            break;
    fclose(file);
    return pending >> (number - 1) & 1;
}

/* --- retired ---------------------------------------------------------------------------------- */

static const struct {
    const char *what;
    enum worker_role role;
    enum death_cause cause;
    bool program, ready;
    usec had, deadline; /* its own before, and the new one */
    int sent;           /* 0: nothing */
    int next_signal;
    usec then;
    enum death_cause becomes;
} retired[] = {
    {"idle", ROLE_ACTIVE, DEATH_OWN, false, true, USEC_NEVER, LATER, SIGTERM, SIGQUIT, LATER,
     DEATH_RETIRED},
    {"without a deadline", ROLE_ACTIVE, DEATH_OWN, false, true, USEC_NEVER, USEC_NEVER, SIGTERM,
     SIGQUIT, USEC_NEVER, DEATH_RETIRED},
    {"a canary", ROLE_CANARY, DEATH_OWN, false, true, USEC_NEVER, LATER, SIGTERM, SIGQUIT, LATER,
     DEATH_RETIRED},
    {"not ready yet: its own time is shorter", ROLE_ACTIVE, DEATH_OWN, false, false, NOW + 1, LATER,
     SIGTERM, SIGQUIT, NOW + 1, DEATH_RETIRED},
    {"not ready yet: its own time is longer", ROLE_ACTIVE, DEATH_OWN, false, false, LATER + 1,
     LATER, SIGTERM, SIGQUIT, LATER, DEATH_RETIRED},
    {"told before, without a deadline", ROLE_RETIRING, DEATH_RETIRED, false, true, USEC_NEVER,
     LATER, SIGTERM, SIGQUIT, LATER, DEATH_RETIRED},
    {"told again, without a deadline", ROLE_RETIRING, DEATH_RETIRED, false, true, LATER, USEC_NEVER,
     0, 0, LATER, DEATH_RETIRED},
    {"its request took too long", ROLE_RETIRING, DEATH_TIMEOUT, false, true, NOW + 1, LATER, 0, 0,
     NOW + 1, DEATH_TIMEOUT},
    {"a program", ROLE_ACTIVE, DEATH_OWN, true, true, USEC_NEVER, LATER, STOP_SIGNAL, SIGKILL,
     LATER, DEATH_RETIRED},
    {"a program told before, with less time", ROLE_RETIRING, DEATH_RETIRED, true, true, LATER,
     NOW + 1, 0, 0, NOW + 1, DEATH_RETIRED},
    {"a program told before, with more time", ROLE_RETIRING, DEATH_RETIRED, true, true, NOW + 1,
     LATER, 0, 0, NOW + 1, DEATH_RETIRED},
    {"a program that hangs", ROLE_ACTIVE, DEATH_WATCHDOG, true, true, NOW + 1, LATER, 0, 0, NOW + 1,
     DEATH_WATCHDOG},
};

START_TEST(retires)
{
    const char *what = retired[_i].what;
    if (retired[_i].program)
        becomes_program();
    slot.ready = retired[_i].ready;
    worker.role = retired[_i].role;
    worker.cause = retired[_i].cause;
    worker.deadline = retired[_i].had;
    stop_retire(&worker, retired[_i].deadline);
    ck_assert_msg(worker.role == ROLE_RETIRING, "%s", what);
    ck_assert_msg(worker.cause == retired[_i].becomes, "%s: cause %d", what, (int)worker.cause);
    ck_assert_msg(worker.next_signal == retired[_i].next_signal, "%s: next %d", what,
                  worker.next_signal);
    ck_assert_msg(worker.deadline == retired[_i].then, "%s: deadline %lld", what,
                  (long long)worker.deadline);
    static const int all[] = {SIGTERM, SIGQUIT, SIGABRT, STOP_SIGNAL};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        ck_assert_msg(was_sent(all[i]) == (all[i] == retired[_i].sent), "%s: signal %d", what,
                      all[i]);
    if (retired[_i].cause == DEATH_OWN) {
        ck_assert_uint_eq(slot.retiring, 1);
        ck_assert_uint_eq(shown.retiring, 1);
    }
}
END_TEST

/* --- harder ----------------------------------------------------------------------------------- */

static const struct {
    enum death_cause cause, becomes;
    int next, after; /* signals */
    usec then;       /* from now on */
} harder[] = {
    {DEATH_OWN, DEATH_NOT_READY, SIGKILL, SIGKILL, 5 * USEC_SECOND},
    {DEATH_RETIRED, DEATH_OVERDUE, SIGQUIT, SIGKILL, USEC_SECOND},
    {DEATH_TIMEOUT, DEATH_TIMEOUT, SIGQUIT, SIGKILL, USEC_SECOND},
    {DEATH_STOPPED, DEATH_STOPPED, SIGKILL, SIGKILL, 5 * USEC_SECOND},
    {DEATH_WATCHDOG, DEATH_WATCHDOG, SIGKILL, SIGKILL, 5 * USEC_SECOND},
};

START_TEST(grows_harder)
{
    worker.cause = harder[_i].cause;
    worker.next_signal = harder[_i].next;
    worker.deadline = NOW;
    ck_assert_int_eq(stop_step(&worker, NOW - 1), NOW);
    ck_assert_int_eq(worker.cause, harder[_i].cause);
    usec next = stop_step(&worker, NOW);
    ck_assert_int_eq(worker.cause, harder[_i].becomes);
    ck_assert_int_eq(worker.next_signal, harder[_i].after);
    ck_assert_int_eq(next, NOW + harder[_i].then);
    if (harder[_i].next == SIGKILL) {
        int status;
        ck_assert(!worker.stuck);
        ck_assert_int_eq(stop_step(&worker, next), next + 5 * USEC_SECOND);
        ck_assert(worker.stuck && shown.stuck); /* it is not reaped yet */
        ck_assert_int_eq(waitpid(worker.pid, &status, 0), worker.pid);
        ck_assert_int_eq(WTERMSIG(status), SIGKILL);
        worker.pid = fork_deaf();
    } else {
        ck_assert(was_sent(SIGQUIT));
    }
}
END_TEST

START_TEST(stops_at_once)
{
    stop_now(&worker, NOW);
    ck_assert(was_sent(SIGQUIT));
    ck_assert_int_eq(worker.next_signal, SIGKILL);
    ck_assert_int_eq(worker.deadline, NOW + USEC_SECOND);
    ck_assert_int_eq(worker.cause, DEATH_STOPPED);
    ck_assert_int_eq(worker.role, ROLE_RETIRING);
}
END_TEST

/* To a program SIGQUIT may mean anything. */
START_TEST(stops_a_program_at_once)
{
    int status;
    becomes_program();
    stop_now(&worker, NOW);
    ck_assert_int_eq(waitpid(worker.pid, &status, 0), worker.pid);
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
    ck_assert_int_eq(worker.next_signal, SIGKILL);
    ck_assert_int_eq(worker.deadline, NOW + 5 * USEC_SECOND);
    worker.pid = fork_deaf();
}
END_TEST

/* --- late requests ---------------------------------------------------------------------------- */

#define LIMIT (10 * USEC_SECOND)

static const struct {
    uint32_t state, ready;
    enum death_cause cause;
    usec busy_for, next; /* from now on */
    bool late;
} requests[] = {
    {SLOT_BUSY, 1, DEATH_OWN, 0, LIMIT, false},
    {SLOT_BUSY, 1, DEATH_OWN, LIMIT - 1, 1, false},
    {SLOT_BUSY, 1, DEATH_OWN, LIMIT, 0, true},
    {SLOT_BUSY, 1, DEATH_RETIRED, LIMIT, 0, true},
    {SLOT_BUSY, 1, DEATH_TIMEOUT, LIMIT, LIMIT, false},
    {SLOT_BUSY, 1, DEATH_STOPPED, LIMIT, LIMIT, false},
    {SLOT_BUSY, 0, DEATH_OWN, LIMIT, LIMIT, false},
    {SLOT_IDLE, 1, DEATH_OWN, 2 * LIMIT, LIMIT, false},
    {SLOT_BUSY, 1, DEATH_OWN, -LIMIT, LIMIT, false}, /* the worker's word, in the future */
    {SLOT_BUSY, 1, DEATH_OWN, INT64_MAX / 2, 0, true},
};

START_TEST(watches_requests)
{
    slot.state = requests[_i].state;
    slot.ready = requests[_i].ready;
    slot.since = NOW - requests[_i].busy_for;
    worker.born = NOW - 5 * LIMIT;
    worker.cause = requests[_i].cause;
    struct seats_load load = spawn_load(&worker, NOW);
    ck_assert_int_eq(stop_late_request(&worker, &load, LIMIT, NOW), NOW + requests[_i].next);
    ck_assert_int_eq(was_sent(SIGQUIT), requests[_i].late);
    if (!requests[_i].late) {
        ck_assert_int_eq(worker.cause, requests[_i].cause);
        return;
    }
    ck_assert_int_eq(worker.cause, DEATH_TIMEOUT);
    ck_assert_int_eq(worker.role, ROLE_RETIRING);
    ck_assert_int_eq(worker.next_signal, SIGKILL);
    ck_assert_int_eq(worker.deadline, NOW + USEC_SECOND);
}
END_TEST

/* The pool's configuration in force may be another than the worker's: request_timeout in seconds.
 * A worker of several seats keeps its own limit, and every worker its own grace. */
static const struct {
    uint32_t seats;
    enum worker_role role;
    const struct handler *handler;
    int own, in_force, limit;
} limits[] = {
    {1, ROLE_ACTIVE, &handler_echo, 60, 2, 2},  {1, ROLE_ACTIVE, &handler_echo, 60, 0, 0},
    {1, ROLE_RETIRING, &handler_echo, 0, 2, 2}, {1, ROLE_CANARY, &handler_echo, 60, 2, 60},
    {1, ROLE_CANARY, &handler_echo, 0, 2, 0},   {1, ROLE_RETIRING, &handler_cgi, 60, 60, 70},
    {8, ROLE_ACTIVE, &handler_echo, 2, 2, 7},   {8, ROLE_RETIRING, &handler_echo, 60, 2, 65},
    {8, ROLE_RETIRING, &handler_echo, 0, 2, 0}, {8, ROLE_RETIRING, &handler_echo, 5, 0, 10},
};

START_TEST(limits_requests)
{
    struct pool_config in_force = {.handler = &handler_exec.section,
                                   .request_timeout = limits[_i].in_force};
    conf.handler = &limits[_i].handler->section;
    conf.request_timeout = limits[_i].own;
    worker.seats = limits[_i].seats;
    worker.role = limits[_i].role;
    ck_assert_int_eq(stop_request_limit(&worker, &in_force), limits[_i].limit * USEC_SECOND);
}
END_TEST

/* --- programs --------------------------------------------------------------------------------- */

START_TEST(program_without_a_word_is_ready_after_a_second)
{
    becomes_program();
    slot.ready = 0;
    slot.state = SLOT_STARTING;
    slot.since = NOW;
    worker.deadline = LATER;
    ck_assert_int_eq(stop_watch_program(&worker, 0, NOW), NOW + USEC_SECOND);
    ck_assert_int_eq(worker.deadline, USEC_NEVER); /* it can't be late */
    ck_assert_int_eq(stop_watch_program(&worker, 0, NOW + USEC_SECOND - 1), NOW + USEC_SECOND);
    ck_assert_uint_eq(slot.ready, 0);
    stop_watch_program(&worker, 0, NOW + USEC_SECOND);
    ck_assert_uint_eq(slot.ready, 1);
    ck_assert_uint_eq(slot.state, SLOT_IDLE);
}
END_TEST

START_TEST(programs_before_it_that_ended_in_order_count)
{
    becomes_program();
    slot.ready = 0;
    slot.since = NOW;
    worker.backoff.alive = USEC_SECOND / 4;
    ck_assert_int_eq(stop_watch_program(&worker, 0, NOW), NOW + USEC_SECOND * 3 / 4);
}
END_TEST

START_TEST(program_that_tells_is_ready_when_it_says_so)
{
    becomes_program();
    slot.ready = 0;
    worker.notify = &notify;
    worker.deadline = LATER;
    ck_assert_int_eq(stop_watch_program(&worker, 0, NOW + 100 * USEC_SECOND), USEC_NEVER);
    ck_assert_uint_eq(slot.ready, 0);
    ck_assert_int_eq(worker.deadline, LATER);
    notify.ready = true;
    stop_watch_program(&worker, 0, NOW);
    ck_assert_uint_eq(slot.ready, 1);
    ck_assert_int_eq(slot.since, NOW);
}
END_TEST

static const struct {
    const char *what;
    usec alive_at, watchdog;
    bool hung, retiring;
    usec grace_until, next;
    bool killed;
} watchdogs[] = {
    {"never gave a sign", 0, USEC_SECOND, false, false, 0, USEC_NEVER, false},
    {"in time", NOW - USEC_SECOND + 1, USEC_SECOND, false, false, 0, NOW + 1, false},
    {"late", NOW - USEC_SECOND, USEC_SECOND, false, false, 0, USEC_NEVER, true},
    {"late, for the machine stood still", NOW - USEC_SECOND, USEC_SECOND, false, false, NOW + 5,
     NOW + 5, false},
    {"said that it hangs", 0, USEC_SECOND, true, false, 0, USEC_NEVER, true},
    {"late, and told to go", NOW - USEC_SECOND, USEC_SECOND, false, true, 0, USEC_NEVER, false},
    {"an interval without end", NOW, USEC_NEVER, false, false, 0, USEC_NEVER, false},
};

START_TEST(watches_signs_of_life)
{
    becomes_program();
    worker.notify = &notify;
    worker.role = watchdogs[_i].retiring ? ROLE_RETIRING : ROLE_ACTIVE;
    notify = (struct notify){.ready = true,
                             .hung = watchdogs[_i].hung,
                             .watchdog = watchdogs[_i].watchdog,
                             .alive_at = watchdogs[_i].alive_at};
    usec next = stop_watch_program(&worker, watchdogs[_i].grace_until, NOW);
    ck_assert_msg(next == watchdogs[_i].next, "%s: %lld", watchdogs[_i].what, (long long)next);
    ck_assert_msg(was_sent(SIGABRT) == watchdogs[_i].killed, "%s", watchdogs[_i].what);
    ck_assert_int_eq(worker.cause, watchdogs[_i].killed ? DEATH_WATCHDOG : DEATH_OWN);
    ck_assert_int_eq(worker.hung, watchdogs[_i].hung);
    if (watchdogs[_i].killed) {
        ck_assert_int_eq(worker.next_signal, SIGKILL);
        ck_assert_int_eq(worker.deadline, NOW + 5 * USEC_SECOND);
    }
}
END_TEST

/* --- the order -------------------------------------------------------------------------------- */

enum { WORKERS = 6 };

/* The worker of each number has the state in its place; the expected order is that of the numbers.
 * */
static void check_order(const struct worker *made, struct worker **list)
{
    stop_sort(list, WORKERS);
    for (int i = 0; i < WORKERS; i++)
        ck_assert_msg(list[i] == &made[i], "place %d has number %d", i, (int)(list[i] - made));
}

START_TEST(sorts_by_what_is_lost)
{
    usec now = clock_now();
    static const struct {
        uint32_t state, ready, ago;
    } states[WORKERS] = {{SLOT_WAITING, 0, 0}, {SLOT_STARTING, 0, 9}, {SLOT_IDLE, 1, 8},
                         {SLOT_IDLE, 1, 7},    {SLOT_BUSY, 1, 9},     {SLOT_BUSY, 1, 1}};
    struct slot slots[WORKERS] = {0};
    struct worker made[WORKERS] = {0}, *list[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        slots[i].state = states[i].state;
        slots[i].ready = states[i].ready;
        slots[i].since = now - states[i].ago * USEC_SECOND;
        made[i].slot = &slots[i];
        made[i].seats = 1;
        made[i].pid = i == 0 ? 0 : 1000 + i; /* the first is not forked */
        list[(i * 5 + 3) % WORKERS] = &made[i];
    }
    check_order(made, list);
}
END_TEST

/* Which programs are idle is unknown: those with the highest numbers go. */
START_TEST(sorts_programs_by_number)
{
    struct slot slots[WORKERS] = {0};
    struct worker made[WORKERS] = {0}, *list[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        made[i].slot = &slots[i];
        made[i].seats = 1;
        made[i].pid = i % 2 ? 1000 + i : 0;
        made[i].app_policy.stop_signal = SIGTERM;
        made[i].number = WORKERS - 1 - i;
        list[(i * 5 + 3) % WORKERS] = &made[i];
    }
    check_order(made, list);
}
END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

int main(void)
{
    TCase *tests = tcase_create("stop");
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_loop_test(tests, retires, 0, COUNT(retired));
    tcase_add_loop_test(tests, grows_harder, 0, COUNT(harder));
    tcase_add_test(tests, stops_at_once);
    tcase_add_test(tests, stops_a_program_at_once);
    tcase_add_loop_test(tests, watches_requests, 0, COUNT(requests));
    tcase_add_loop_test(tests, limits_requests, 0, COUNT(limits));
    tcase_add_test(tests, program_without_a_word_is_ready_after_a_second);
    tcase_add_test(tests, programs_before_it_that_ended_in_order_count);
    tcase_add_test(tests, program_that_tells_is_ready_when_it_says_so);
    tcase_add_loop_test(tests, watches_signs_of_life, 0, COUNT(watchdogs));
    tcase_add_test(tests, sorts_by_what_is_lost);
    tcase_add_test(tests, sorts_programs_by_number);
    return unit_run("stop", tests);
}
