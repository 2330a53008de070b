#include "../../src/master/obituary.h"
#include "../../src/shared/exitcode.h"
#include "unit.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

/* As wait(2) has it on Linux: the exit status in the second byte, the signal in the first, with
 * 0x80 for a core. */
#define EXITED(code)   ((code) << 8)
#define KILLED(number) (number)
#define DUMPED(number) ((number) | 0x80)

static const struct {
    struct obituary obituary;
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
      .delay = 200000},
     LOG_NOTICE,
     "pool web: worker 10 killed by signal 6 (Aborted, no core: there is a reason) after 0 "
     "requests; "
     "respawned in 0.2 s pool=web pid=10 signal=ABRT core=no served=0 age=2.5"},
    {{.pid = 10, .status = KILLED(SIGKILL), .cause = DEATH_OVERDUE},
     LOG_WARNING,
     "pool web: worker 10 killed by signal 9 (Killed) by us, not done within graceful_timeout "
     "after "
     "0 requests pool=web pid=10 signal=KILL core=no served=0 age=2.5"},
    {{.pid = 10, .status = KILLED(SIGKILL), .cause = DEATH_NOT_READY},
     LOG_WARNING,
     "pool web: worker 10 killed by signal 9 (Killed) by us, not ready within ready_timeout after "
     "0 "
     "requests pool=web pid=10 signal=KILL core=no served=0 age=2.5"},
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
};

static struct obituary complete(struct obituary obituary)
{
    obituary.pool = "web";
    obituary.age = 2500000;
    obituary.reason = obituary.reason ? obituary.reason : "";
    obituary.last = obituary.last ? obituary.last : "";
    return obituary;
}

START_TEST(prints)
{
    char text[1024];
    struct obituary obituary = complete(cases[_i].obituary);
    int length = obituary_print(&obituary, text, sizeof text);
    ck_assert_str_eq(text, cases[_i].line);
    ck_assert_int_eq(length, (int)strlen(text));
    ck_assert_int_eq(obituary_level(&obituary), cases[_i].level);
}
END_TEST

/* However little room there is, nothing is written beyond it, and the text ends. */
START_TEST(stays_within_its_room)
{
    char text[64];
    struct obituary obituary = complete(cases[1].obituary);
    for (size_t size = 1; size < sizeof text; size++) {
        memset(text, '#', sizeof text);
        obituary_print(&obituary, text, size);
        ck_assert_uint_lt(strlen(text), size);
        ck_assert_int_eq(text[size], '#');
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("obituary");
    tcase_add_loop_test(tcase, prints, 0, sizeof cases / sizeof *cases);
    tcase_add_test(tcase, stays_within_its_room);
    return unit_run("obituary", tcase);
}
