#include "../../src/board/exitcode.h"
#include "../../src/master/exits.h"
#include "unit.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>

/* Linux's encoding of wait(2): the exit status in the second byte, the signal in the first, with
 * 0x80 for a core. */
#define EXITED(code)   ((code) << 8)
#define KILLED(number) (number)
#define DUMPED(number) ((number) | 0x80)

static const struct {
    struct exit_report report;
    int level;
    const char *line;
} cases[] = {
    {{.pid = 10, .status = EXITED(WORKER_RETIRED), .cause = DEATH_RETIRED, .served = 1},
     LOG_INFO,
     "pool web: worker 10 ended after 1 request pool=web pid=10 exit=0 served=1 age=2.5"},
    {{.pid = 10, .status = DUMPED(SIGSEGV), .served = 382, .replacement = 11, .replaced = true},
     LOG_NOTICE,
     "pool web: worker 10 killed by signal 11 (Segmentation fault, core dumped) after 382 "
     "requests; "
     "respawned as 11 pool=web pid=10 signal=SEGV core=yes served=382 age=2.5 new=11"},
    {{.pid = 10,
      .status = KILLED(SIGABRT),
      .no_core = "there is a reason",
      .replaced = true,
      .delay = 200000,
      .delay_grew = true},
     LOG_WARNING,
     "pool web: worker 10 killed by signal 6 (Aborted, no core: there is a reason) after 0 "
     "requests; "
     "respawned in 0.2 s pool=web pid=10 signal=ABRT core=no served=0 age=2.5"},
    {{.pid = 10, .status = EXITED(WORKER_CANT_START), .reason = "no", .replaced = true, .delay = 1},
     LOG_DEBUG, /* the back-off has not changed */
     "pool web: worker 10 can't start: no after 0 requests; respawned in 0.0 s pool=web pid=10 "
     "exit=71 served=0 age=2.5"},
    {{.pid = 10, .status = KILLED(SIGKILL), .cause = DEATH_OVERDUE},
     LOG_WARNING,
     "pool web: worker 10 killed by signal 9 (Killed) by us, not done within graceful_timeout "
     "after "
     "0 requests pool=web pid=10 signal=KILL core=no served=0 age=2.5"},
    {{.pid = 10, .status = KILLED(SIGKILL), .cause = DEATH_NOT_READY, .ready_timeout = 30},
     LOG_WARNING,
     "pool web: worker 10 not ready within ready_timeout (30 s): killed by signal 9 (Killed) by us "
     "after 0 requests pool=web pid=10 signal=KILL core=no served=0 age=2.5"},
    {{.pid = 10,
      .status = KILLED(SIGABRT),
      .cause = DEATH_WATCHDOG,
      .program = true,
      .ready = true},
     LOG_WARNING,
     "pool web: worker 10 stopped sending WATCHDOG=1: killed by signal 6 (Aborted) by us "
     "after "
     "2.5 s pool=web pid=10 signal=ABRT core=no age=2.5"},
    {{.pid = 10,
      .status = EXITED(1),
      .cause = DEATH_WATCHDOG,
      .program = true,
      .ready = true,
      .hung = true},
     LOG_WARNING,
     "pool web: worker 10 sent WATCHDOG=trigger: exited with status 1 after 2.5 s "
     "pool=web pid=10 exit=1 age=2.5"},
    {{.pid = 10, .status = EXITED(WORKER_CANT_START), .reason = "can't chroot to /x: no"},
     LOG_ERR,
     "pool web: worker 10 can't start: can't chroot to /x: no after 0 requests pool=web pid=10 "
     "exit=71 served=0 age=2.5"},
    {{.pid = 10, .status = EXITED(WORKER_ENDED), .cause = DEATH_STOPPED},
     LOG_INFO,
     "pool web: worker 10 ended at once by us, told to stop at once after 0 requests pool=web "
     "pid=10 "
     "exit=73 served=0 age=2.5"},
    {{.pid = 10, .status = EXITED(3), .last = "oh no"},
     LOG_NOTICE,
     "pool web: worker 10 exited with status 3 after 0 requests pool=web pid=10 exit=3 served=0 "
     "age=2.5 last=\"oh no\""},
    {{.pid = 10, .status = EXITED(3), .last = "a \"b\" pid=1 pool=web pid=1"},
     LOG_NOTICE,
     "pool web: worker 10 exited with status 3 after 0 requests pool=web pid=10 exit=3 served=0 "
     "age=2.5 last=\"a \\x22b\\x22 pid=1 pool\\x3dweb pid=1\""},
    {{.pid = 10, .status = KILLED(SIGKILL), .out_of_memory = true, .last = "oh no"},
     LOG_NOTICE,
     "pool web: worker 10 killed by signal 9 (Killed, out of memory) after 0 requests pool=web "
     "pid=10 signal=KILL core=no served=0 age=2.5 oom=yes last=\"oh no\""},
    {{.pid = 10,
      .status = KILLED(SIGINT),
      .cause = DEATH_RETIRED,
      .program = true,
      .ready = true,
      .stop_signal = SIGINT},
     LOG_INFO,
     "pool web: worker 10 ended by signal 2 (Interrupt) after 2.5 s pool=web pid=10 signal=INT "
     "core=no age=2.5"},
    {{.pid = 10,
      .status = KILLED(SIGTERM),
      .cause = DEATH_RETIRED,
      .program = true,
      .ready = true,
      .stop_signal = SIGINT},
     LOG_NOTICE,
     "pool web: worker 10 killed by signal 15 (Terminated) after 2.5 s pool=web pid=10 signal=TERM "
     "core=no age=2.5"},
    {{.pid = 10,
      .status = EXITED(128 + SIGTERM),
      .cause = DEATH_RETIRED,
      .program = true,
      .ready = true,
      .stop_signal = SIGTERM},
     LOG_INFO,
     "pool web: worker 10 exited with status 143 after 2.5 s pool=web pid=10 exit=143 age=2.5"},
    {{.pid = 10, .status = EXITED(WORKER_CANT_START), .program = true, .ready = true},
     LOG_NOTICE,
     "pool web: worker 10 exited with status 71 after 2.5 s pool=web pid=10 exit=71 age=2.5"},
    {{.pid = 10, .status = EXITED(0), .in_hand = 1},
     LOG_NOTICE,
     "pool web: worker 10 exited with status 0 after 0 requests pool=web pid=10 exit=0 served=0 "
     "age=2.5"},
    {{.pid = 10, .status = EXITED(WORKER_CANT_START), .reason = "", .ready = true},
     LOG_NOTICE,
     "pool web: worker 10 exited with status 71 after 0 requests pool=web pid=10 exit=71 served=0 "
     "age=2.5"},
    {{.pid = 10, .status = EXITED(0), .program = true},
     LOG_INFO,
     "pool web: worker 10 ended after 2.5 s, before it was ready pool=web pid=10 exit=0 age=2.5"},
    {{.pid = 10,
      .status = EXITED(0),
      .program = true,
      .replaced = true,
      .delay = 90000,
      .delay_grew = true},
     LOG_INFO,
     "pool web: worker 10 ended after 2.5 s, before it was ready; respawned in 0.1 s pool=web "
     "pid=10 "
     "exit=0 age=2.5"},
    {{.pid = 10, .status = EXITED(0), .program = true, .left_group = true},
     LOG_NOTICE,
     "pool web: worker 10 ended after 2.5 s, and left processes behind: it must stay in the "
     "foreground pool=web pid=10 exit=0 age=2.5"},
    {{.pid = 10, .status = EXITED(0), .program = true, .left_group = true, .ready = true},
     LOG_NOTICE,
     "pool web: worker 10 ended after 2.5 s, and left processes behind: it must stay in the "
     "foreground pool=web pid=10 exit=0 age=2.5"},
    {{.pid = 10, .status = EXITED(0), .program = true, .ready = true},
     LOG_INFO,
     "pool web: worker 10 ended after 2.5 s pool=web pid=10 exit=0 age=2.5"},
    {{.pid = 10,
      .status = KILLED(SIGTERM),
      .peer = {.family = AF_INET, .port = 80, .ip = {192, 0, 2, 7}}},
     LOG_NOTICE,
     "pool web: worker 10 killed by signal 15 (Terminated) after 0 requests pool=web pid=10 "
     "signal=TERM core=no served=0 age=2.5 peer=192.0.2.7:80"},
    {{.pid = 10, .status = KILLED(SIGTERM), .in_hand = 17, .served = 3},
     LOG_NOTICE,
     "pool web: worker 10 killed by signal 15 (Terminated) after 3 requests, and with it 17 "
     "connections pool=web pid=10 signal=TERM core=no served=3 age=2.5 connections=17"},
};

static struct exit_report complete(struct exit_report report)
{
    report.pool = "web";
    report.age = 2500000;
    report.last = report.last ? report.last : "";
    return report;
}

START_TEST(prints)
{
    char text[1024];
    struct exit_report report = complete(cases[_i].report);
    int length = exit_report_print(&report, text, sizeof text);
    ck_assert_str_eq(text, cases[_i].line);
    ck_assert_int_eq(length, (int)strlen(text));
    ck_assert_int_eq(exit_report_level(&report), cases[_i].level);
}
END_TEST

/* Nothing is written beyond a small buffer, and the text is terminated. */
START_TEST(stays_within_its_room)
{
    char text[64];
    struct exit_report report = complete(cases[1].report);
    for (size_t size = 1; size < sizeof text; size++) {
        memset(text, '#', sizeof text);
        exit_report_print(&report, text, size);
        ck_assert_uint_lt(strlen(text), size);
        ck_assert_int_eq(text[size], '#');
    }
}
END_TEST

/* The entry of each in the ledger. */
static const struct {
    struct exit_report report;
    bool expected;
    const char *why, *core;
} entries[] = {
    {{.status = EXITED(WORKER_RETIRED), .cause = DEATH_RETIRED}, true, "ended", ""},
    {{.status = EXITED(WORKER_RETIRED)}, true, "ended", ""}, /* after max_requests */
    {{.status = EXITED(0), .program = true, .ready = true}, true, "ended", ""},
    {{.status = EXITED(0), .program = true}, true, "ended", ""},
    {{.status = EXITED(0), .program = true, .left_group = true}, false, "ended", ""},
    {{.status = KILLED(SIGINT),
      .cause = DEATH_RETIRED,
      .program = true,
      .ready = true,
      .stop_signal = SIGINT},
     true,
     "ended by signal 2 (Interrupt)",
     ""},
    {{.status = EXITED(WORKER_ENDED), .cause = DEATH_STOPPED},
     true,
     "ended at once by us, told to stop at once",
     ""},
    {{.status = KILLED(SIGKILL), .cause = DEATH_STOPPED},
     true,
     "killed by signal 9 (Killed) by us, told to stop at once",
     ""},
    {{.status = EXITED(WORKER_ENDED)}, false, "ended at once", ""},
    {{.status = EXITED(3), .cause = DEATH_RETIRED}, false, "exited with status 3", ""},
    {{.status = EXITED(WORKER_CANT_START), .reason = "can't chroot to /x: no"},
     false,
     "can't start: can't chroot to /x: no",
     ""},
    {{.status = DUMPED(SIGSEGV)}, false, "killed by signal 11 (Segmentation fault)", "dumped"},
    {{.status = KILLED(SIGABRT), .no_core = "there is a reason"},
     false,
     "killed by signal 6 (Aborted)",
     "none: there is a reason"},
    {{.status = KILLED(SIGKILL), .cause = DEATH_OVERDUE},
     false,
     "killed by signal 9 (Killed) by us, not done within graceful_timeout",
     ""},
    {{.status = KILLED(SIGKILL), .cause = DEATH_NOT_READY},
     false,
     "not ready within ready_timeout: killed by signal 9 (Killed) by us",
     ""},
    {{.status = EXITED(WORKER_RETIRED), .cause = DEATH_TIMEOUT}, false, NULL, ""},
    {{.status = KILLED(SIGKILL), .out_of_memory = true},
     false,
     "killed by signal 9 (Killed, out of memory)",
     ""},
};

START_TEST(is_recorded)
{
    struct exit_report report = complete(entries[_i].report);
    struct death death;
    ck_assert_int_eq(exit_report_is_expected(&report), entries[_i].expected);
    exit_report_record(&report, 5, &death);
    if (entries[_i].why)
        ck_assert_str_eq(death.why, entries[_i].why);
    ck_assert_str_eq(death.core, entries[_i].core);
    ck_assert_str_eq(death.pool, "web");
    ck_assert_int_eq(death.when, 5);
    ck_assert_int_eq(death.age, 2500000);
    ck_assert_int_eq(death.status, report.status);
    ck_assert_int_eq(death.cause, (int)report.cause);
}
END_TEST

/* The reason reported for a pool that does not get ready; NULL: none. */
static const struct {
    struct exit_report report;
    const char *told;
} troubles[] = {
    {{.status = EXITED(WORKER_CANT_START), .reason = "can't chroot to /x: no"},
     "can't chroot to /x: no"},
    {{.status = KILLED(SIGSEGV)}, "worker 10 died before it was ready"},
    {{.status = EXITED(7), .program = true, .last = "oh no"},
     "its program exited before it was ready: oh no"},
    {{.status = KILLED(SIGKILL), .cause = DEATH_NOT_READY, .program = true, .ready_timeout = 30},
     "not ready within ready_timeout (30 s)"},
    {{.status = KILLED(SIGKILL),
      .cause = DEATH_NOT_READY,
      .program = true,
      .ready_timeout = 5,
      .last = "waiting for the database"},
     "not ready within ready_timeout (5 s); it last wrote: waiting for the database"},
    {{.status = KILLED(SIGABRT), .cause = DEATH_WATCHDOG, .program = true, .hung = true},
     "sent WATCHDOG=trigger"},
    {{.status = KILLED(SIGKILL), .cause = DEATH_STOPPED, .program = true}, NULL},
    {{.status = KILLED(SIGTERM), .cause = DEATH_RETIRED, .program = true}, NULL},
    {{.status = KILLED(SIGKILL), .cause = DEATH_OVERDUE, .program = true}, NULL},
    {{.status = KILLED(SIGKILL), .ready = true}, NULL},
    {{.status = EXITED(WORKER_RETIRED), .ready = true}, NULL},
    {{.status = EXITED(0), .program = true, .ready = true}, NULL},
    {{.status = EXITED(0), .program = true},
     "its program ended, with status 0, before it was ready"},
    {{.status = EXITED(0), .program = true, .ready = true, .left_group = true},
     "its program ended, with status 0, and left processes behind: it must stay in the foreground"},
    {{.status = EXITED(9),
      .program = true,
      .ready = true,
      .ended_early = true,
      .ready_for = 500000,
      .min_ready_time = 2,
      .last = "no such luck"},
     "its program exited with status 9, 0.5 s after it was ready (min_ready_time is 2 s): no such "
     "luck"},
    {{.pid = 10,
      .status = KILLED(SIGKILL),
      .ready = true,
      .ended_early = true,
      .ready_for = 100000,
      .min_ready_time = 1},
     "worker 10 killed by signal 9 (Killed), 0.1 s after it was ready (min_ready_time is 1 s)"},
};

START_TEST(tells_trouble)
{
    char text[200];
    struct exit_report report = complete(troubles[_i].report);
    report.pid = 10;
    ck_assert_int_eq(exit_report_is_trouble(&report), troubles[_i].told != NULL);
    if (!troubles[_i].told)
        return;
    exit_report_print_trouble(&report, text, sizeof text);
    ck_assert_str_eq(text, troubles[_i].told);
}
END_TEST

/* Long texts are cut and terminated. */
START_TEST(records_what_has_room)
{
    char text[600];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct exit_report report = {.pool = text,
                                 .status = EXITED(WORKER_CANT_START),
                                 .last = text,
                                 .cpu_user = 1,
                                 .cpu_system = 2,
                                 .memory = 3,
                                 .generation = 4,
                                 .served = 6};
    struct death death;
    memcpy(report.reason, text, sizeof report.reason - 1);
    exit_report_record(&report, 5, &death);
    ck_assert_uint_eq(strlen(death.pool), sizeof death.pool - 1);
    ck_assert_uint_eq(strlen(death.why), sizeof death.why - 1);
    ck_assert_uint_eq(strlen(death.last), sizeof death.last - 1);
    ck_assert_int_eq(death.cpu_user + death.cpu_system + death.memory, 6);
    ck_assert_uint_eq(death.generation + death.served, 10);
}
END_TEST

/* The list of signal(7). */
START_TEST(knows_which_signals_dump_core)
{
    static const int dump[] = {SIGABRT, SIGBUS, SIGFPE,  SIGILL,  SIGQUIT,
                               SIGSEGV, SIGSYS, SIGTRAP, SIGXCPU, SIGXFSZ};
    for (int number = 1; number < NSIG; number++) {
        bool dumps = false;
        for (unsigned i = 0; i < sizeof dump / sizeof *dump; i++)
            dumps = dumps || dump[i] == number;
        ck_assert_msg(exit_report_signal_dumps(number) == dumps, "signal %d", number);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("obituary");
    tcase_add_loop_test(tcase, prints, 0, sizeof cases / sizeof *cases);
    tcase_add_test(tcase, stays_within_its_room);
    tcase_add_loop_test(tcase, is_recorded, 0, sizeof entries / sizeof *entries);
    tcase_add_loop_test(tcase, tells_trouble, 0, sizeof troubles / sizeof *troubles);
    tcase_add_test(tcase, records_what_has_room);
    tcase_add_test(tcase, knows_which_signals_dump_core);
    return unit_run("obituary", tcase);
}
