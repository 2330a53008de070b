#include "../../src/master/stop.h"
#include "unit.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct groups groups;
static pid_t worker, program, member;
static int ready[2];

static void tell(pid_t pid)
{
    if (write(ready[1], &pid, sizeof pid) != sizeof pid)
        _exit(1);
}

static void sleep_on(void)
{
    for (;;)
        pause();
}

static pid_t told(void)
{
    pid_t pid = 0;
    ck_assert_int_eq(read(ready[0], &pid, sizeof pid), sizeof pid);
    return pid;
}

/* Starts a worker that leads a session, the program that it runs in a group, and a child of that.
 * */
static void start(bool deaf)
{
    ck_assert_int_eq(pipe(ready), 0);
    worker = fork();
    if (worker == 0) {
        signal(SIGCHLD, SIG_IGN);
        setsid();
        if (fork() == 0) {
            setpgid(0, 0);
            /* Check has a handler of its own, which ends the test. */
            signal(SIGTERM, deaf ? SIG_IGN : SIG_DFL);
            tell(getpid());
            if (fork() == 0)
                tell(getpid());
            sleep_on();
        }
        sleep_on();
    }
    program = told();
    member = told();
}

static void tear_down(void)
{
    kill(-program, SIGKILL);
    kill(worker, SIGKILL);
    waitpid(worker, NULL, 0);
    process_groups_free(&groups);
    close(ready[0]);
    close(ready[1]);
}

/* Calls the follower when it asks for it, until it follows nothing. */
static void follow(void)
{
    usec end = clock_now() + 60 * USEC_SECOND;
    for (usec now; groups.first && (now = clock_now()) < end;) {
        usec next = process_groups_step(&groups, "web", now);
        if (groups.first && next > now)
            usleep((useconds_t)(next - now));
    }
    ck_assert_ptr_null(groups.first);
    ck_assert_int_eq(group_of_session(program, worker), GROUP_GONE);
}

START_TEST(is_told_to_end)
{
    start(false);
    usec now = clock_now();
    ck_assert_int_eq(
        process_groups_end(&groups, worker, program, SIGTERM, now + 60 * USEC_SECOND, now),
        GROUP_OWN);
    follow();
}
END_TEST

START_TEST(is_killed_at_the_deadline)
{
    start(true);
    usec now = clock_now();
    process_groups_end(&groups, worker, program, SIGTERM, now + USEC_SECOND / 10, now);
    ck_assert_int_eq(group_of_session(program, worker), GROUP_OWN);
    follow();
    ck_assert_int_ge(clock_now(), now + USEC_SECOND / 10);
}
END_TEST

START_TEST(without_its_leader)
{
    start(true);
    kill(program, SIGKILL);
    while (kill(program, 0) == 0)
        usleep(1000); /* until it is reaped */
    ck_assert_int_eq(group_of_session(program, worker), GROUP_OWN);
    usec now = clock_now();
    ck_assert_int_eq(process_groups_end(&groups, worker, program, 0, now, now), GROUP_OWN);
    follow();
}
END_TEST

START_TEST(stopped)
{
    start(false);
    kill(-program, SIGSTOP);
    usec now = clock_now();
    process_groups_end(&groups, worker, program, SIGTERM, now + 60 * USEC_SECOND, now);
    process_groups_kill(&groups, now);
    follow();
}
END_TEST

/* A group in another session, or no group at all: nobody gets a signal. */
START_TEST(whose_it_is_not)
{
    static const pid_t none[] = {0, 1, -1, 1 << 30};
    start(false);
    usec now = clock_now();
    ck_assert_int_eq(process_groups_end(&groups, getsid(0), program, SIGKILL, now, now),
                     GROUP_FOREIGN);
    for (unsigned i = 0; i < sizeof none / sizeof *none; i++)
        ck_assert_int_eq(process_groups_end(&groups, worker, none[i], SIGKILL, now, now),
                         GROUP_GONE);
    ck_assert_ptr_null(groups.first);
    ck_assert_int_eq(kill(program, 0), 0);
    ck_assert_int_eq(kill(member, 0), 0);
    ck_assert_int_eq(group_of_session(program, worker), GROUP_OWN);
}
END_TEST

/* Whose it is can't be found out now: it gets no signal, and is killed later. */
START_TEST(while_descriptors_are_short)
{
    struct rlimit before;
    start(true);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    usec now = clock_now();
    enum group_kind kind = process_groups_end(&groups, worker, program, SIGKILL, now, now);
    process_groups_step(&groups, "web", now + USEC_SECOND);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(kind, GROUP_UNKNOWN);
    ck_assert_int_eq(group_of_session(program, worker), GROUP_OWN);
    follow();
}
END_TEST

START_TEST(goes_on_with_what_was_saved)
{
    start(true);
    const struct state_group saved = {
        .session = worker, .number = program, .since = clock_now(), .deadline = clock_now()};
    ck_assert(process_groups_adopt(&groups, &saved));
    follow();
    ck_assert_int_eq(groups.stuck, 0);
}
END_TEST

/* To many programs a second signal is another order, and a later request does not extend the time.
 * The group is stopped, so that its signals stay pending and can be checked. */
START_TEST(is_told_once_and_ends_by_the_earlier_time)
{
    start(false);
    usec now = clock_now(), late = now + 60 * USEC_SECOND;
    kill(-program, SIGSTOP);
    process_groups_end(&groups, worker, program, 0, late, now);
    ck_assert_int_eq(process_groups_end(&groups, worker, program, SIGTERM, late + 1, now),
                     GROUP_OWN);
    ck_assert_int_eq(groups.first->deadline, late);
    ck_assert_ptr_null(groups.first->next);
    char path[64], line[256];
    unsigned long long pending = 1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)program);
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof line, file) && sscanf(line, "ShdPnd: %llx", &pending) != 1)
        continue;
    fclose(file);
    ck_assert_uint_eq(pending >> (SIGTERM - 1) & 1, 0);
    process_groups_end(&groups, worker, program, SIGTERM, late - 1, now);
    ck_assert_int_eq(groups.first->deadline, late - 1);
}
END_TEST

/* By the listener that programs get: as standard input, or as the first descriptor after the
 * standard ones. */
START_TEST(background_is_found_by_its_listener)
{
    static const int places[] = {STDIN_FILENO, 3, 4};
    start(false);
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        pid_t child = fork();
        if (child == 0) {
            int high = fcntl(listener, F_DUPFD, 20), word = fcntl(ready[1], F_DUPFD, 20);
            for (int fd = 0; fd < 20; fd++)
                close(fd);
            dup2(high, places[i]);
            close(high);
            ready[1] = word;
            setsid();
            tell(getpid());
            sleep_on();
        }
        ck_assert_int_eq(told(), child);
        pid_t found = places[i] == 4 ? 0 : child;
        struct group followed = {.session = child};
        struct groups all = {.first = &followed};
        ck_assert_int_eq(process_groups_background(worker, 0, listener, &groups), found);
        ck_assert_int_eq(process_groups_background(worker, child, listener, &groups), 0);
        ck_assert_int_eq(process_groups_background(getpid(), 0, listener, &groups), 0);
        ck_assert_int_eq(process_groups_background(worker, 0, listener, &all), 0);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        close(listener);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("groups");
    tcase_add_checked_fixture(tests, NULL, tear_down);
    tcase_add_test(tests, is_told_to_end);
    tcase_add_test(tests, is_killed_at_the_deadline);
    tcase_add_test(tests, without_its_leader);
    tcase_add_test(tests, stopped);
    tcase_add_test(tests, whose_it_is_not);
    tcase_add_test(tests, while_descriptors_are_short);
    tcase_add_test(tests, goes_on_with_what_was_saved);
    tcase_add_test(tests, is_told_once_and_ends_by_the_earlier_time);
    tcase_add_test(tests, background_is_found_by_its_listener);
    return unit_run("groups", tests);
}
