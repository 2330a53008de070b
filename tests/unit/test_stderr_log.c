#include "../../src/base/fd.h"
#include "../../src/master/stderr_log.h"
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct loop loop;
static struct stderr_log_set *set;
static struct stderr_log_rate rate;
static int heard; /* the log, which goes to standard error */

static void set_up(void)
{
    int ends[2];
    sigset_t none;
    sigemptyset(&none);
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    heard = ends[0];
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    log_open("test", true);
    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(loop_open(&loop, &none), 0);
    set = stderr_log_set_new(&loop);
    ck_assert_ptr_nonnull(set);
    rate = (struct stderr_log_rate){0};
}

static void tear_down(void)
{
    stderr_log_set_free(set);
    loop_close(&loop);
    close(heard);
}

/* The lines logged since the last call: the worker's text, each with a bar. */
static const char *said(void)
{
    static char text[8192];
    char all[sizeof text];
    ssize_t n = read(heard, all, sizeof all - 1);
    all[n > 0 ? n : 0] = '\0';
    text[0] = '\0';
    for (char *at = all; (at = strstr(at, "worker "));) {
        char *begin = strstr(at, ": ") + 2, *end = strstr(begin, " pool=");
        ck_assert(end != NULL);
        strcat(strncat(text, begin, (size_t)(end - begin)), "|");
        at = end;
    }
    return text;
}

static int open_one(struct stderr_log *lines, pid_t pid)
{
    int fd = stderr_log_open(lines, set, "pool", &rate);
    ck_assert_int_ge(fd, 0);
    lines->pid = pid;
    return fd;
}

static void put(int fd, const char *text)
{
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    loop_wait(&loop, clock_now());
}

static int count_detached(void)
{
    int count = 0;
    for (const struct stderr_log *at = NULL; (at = stderr_log_next_detached(set, at));)
        count++;
    return count;
}

START_TEST(stderr_log_have_ends)
{
    struct stderr_log lines;
    int fd = open_one(&lines, 7);
    put(fd, "one\ntwo\r\n\n\nthr");
    ck_assert_str_eq(said(), "one|two|");
    put(fd, "ee\n");
    ck_assert_str_eq(said(), "three|");
    ck_assert(stderr_log_step(set, clock_now()) == USEC_NEVER);
    close(fd);
    stderr_log_close(&lines);
}
END_TEST

START_TEST(unfinished_ones_are_told_in_a_while)
{
    struct stderr_log lines[3];
    int fd[3];
    for (int i = 0; i < 3; i++) {
        fd[i] = open_one(&lines[i], i + 1);
        put(fd[i], (const char *[]){"a", "b", "c"}[i]);
    }
    put(fd[1], "b\n"); /* between the other two */
    ck_assert_str_eq(said(), "bb|");
    usec due = stderr_log_step(set, clock_now());
    ck_assert(due > clock_now() && due <= clock_now() + USEC_SECOND);
    ck_assert_str_eq(said(), "");
    stderr_log_step(set, due);
    ck_assert_str_eq(said(), "a|");
    put(fd[0], "A"); /* after c now */
    stderr_log_flush(set);
    ck_assert_str_eq(said(), "c|A|");
    ck_assert(stderr_log_step(set, clock_now()) == USEC_NEVER);
    for (int i = 0; i < 3; i++) {
        close(fd[i]);
        stderr_log_close(&lines[i]);
    }
}
END_TEST

START_TEST(connections_have_lines_of_their_own)
{
    struct stderr_log lines;
    _Atomic uint64_t accepted = 1;
    int fd = open_one(&lines, 7);
    lines.accepted = &accepted;
    put(fd, "one");
    put(fd, " more");
    ck_assert_str_eq(said(), "");
    accepted = 2;
    put(fd, "two");
    ck_assert_str_eq(said(), "one more|");
    put(fd, "\n");
    ck_assert_str_eq(said(), "two|");
    close(fd);
    stderr_log_close(&lines);
}
END_TEST

START_TEST(odd_bytes)
{
    struct stderr_log lines;
    char text[STDERR_LOG_LENGTH + 3];
    int fd = open_one(&lines, 7);
    ck_assert_int_eq(write(fd, "a\0b\n", 4), 4);
    loop_wait(&loop, clock_now());
    ck_assert_str_eq(said(), "a\\x00b|");
    memset(text, 'x', sizeof text);
    strcpy(text + STDERR_LOG_LENGTH, "\n");
    put(fd, text);
    ck_assert_uint_eq(strlen(said()), STDERR_LOG_LENGTH + 1);
    strcpy(text + STDERR_LOG_LENGTH, "y\n");
    put(fd, text);
    ck_assert_uint_eq(strlen(said()), STDERR_LOG_LENGTH + strlen(" [cut]|"));
    close(fd);
    stderr_log_close(&lines);
}
END_TEST

START_TEST(pipe_outlives_its_worker)
{
    struct stderr_log lines;
    _Atomic uint64_t accepted = 1;
    int fd = open_one(&lines, 7);
    lines.accepted = &accepted;
    put(fd, "last words");
    stderr_log_close(&lines);
    ck_assert_str_eq(said(), "last words|");
    ck_assert_str_eq(lines.last, "last words");
    ck_assert_int_eq(stderr_log_next_detached(set, NULL)->pid, 7);
    lines = (struct stderr_log){0}; /* the next worker's */
    put(fd, "la");
    stderr_log_leave(set, &rate);
    rate.logged = 1000000; /* the pool's rate, which has nothing left */
    put(fd, "te\n");
    ck_assert_str_eq(said(), "late|");
    close(fd);
    loop_wait(&loop, clock_now());
    ck_assert_int_eq(count_detached(), 0);
}
END_TEST

START_TEST(pipe_that_nobody_holds_is_closed)
{
    struct stderr_log lines;
    close(open_one(&lines, 7));
    stderr_log_close(&lines);
    ck_assert_int_eq(lines.watch.fd, -1);
    ck_assert_int_eq(count_detached(), 0);
    stderr_log_close(&lines);
}
END_TEST

START_TEST(there_is_a_bound)
{
    enum { MORE = 3 };
    struct stderr_log lines;
    int fd[STDERR_LOG_DETACHED + MORE];
    rate.most_workers = _i;
    int most = _i > STDERR_LOG_DETACHED ? _i : STDERR_LOG_DETACHED;
    for (int i = 0; i < most + MORE && i < STDERR_LOG_DETACHED + MORE; i++) {
        fd[i] = open_one(&lines, i + 1);
        stderr_log_close(&lines);
    }
    ck_assert_int_eq(count_detached(), most);
    ck_assert_int_eq(stderr_log_next_detached(set, NULL)->pid,
                     STDERR_LOG_DETACHED + MORE - most + 1);
    ck_assert_int_eq(write(fd[0], "x", 1), most < STDERR_LOG_DETACHED + MORE ? -1 : 1);
}
END_TEST

START_TEST(what_is_handed_on)
{
    struct stderr_log lines;
    int fd = open_one(&lines, 7);
    stderr_log_close(&lines);
    const struct stderr_log *at = stderr_log_next_detached(set, NULL);
    int kept = dup(at->watch.fd);
    struct stderr_log_set *next = stderr_log_set_new(&loop);
    stderr_log_adopt_detached(next, kept, at->pid, at->pool, NULL);
    stderr_log_set_free(set);
    set = next;
    ck_assert_str_eq(stderr_log_next_detached(set, NULL)->pool, "pool");
    put(fd, "after\n");
    ck_assert_str_eq(said(), "after|");
    close(fd);
    loop_wait(&loop, clock_now());
    ck_assert_int_eq(count_detached(), 0);
}
END_TEST

/* Even if the part that did not fit came long before the line's end. */
START_TEST(cut_lines_say_so)
{
    struct stderr_log lines;
    char longest[STDERR_LOG_LENGTH + 10];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    int fd = open_one(&lines, 7);
    put(fd, longest);
    put(fd, "\n");
    ck_assert_ptr_nonnull(strstr(said(), " [cut]|"));
    put(fd, "short\n");
    ck_assert_str_eq(said(), "short|");
    close(fd);
    stderr_log_close(&lines);
}
END_TEST

START_TEST(what_is_left_out_is_told_once)
{
    struct stderr_log lines;
    int fd = open_one(&lines, 7);
    for (int i = 0; i < STDERR_LOG_A_SECOND + 5; i++)
        put(fd, "x\n");
    said();
    usec later = rate.window + USEC_SECOND;
    if (rate.missed) { /* unless a second passed meanwhile, which allows more */
        ck_assert_int_eq(stderr_log_rate_step(&rate, "pool", later - 1), later);
        ck_assert_uint_gt(rate.missed, 0);
        ck_assert(stderr_log_rate_step(&rate, "pool", later) == USEC_NEVER);
    }
    ck_assert_uint_eq(rate.missed, 0);
    close(fd);
    stderr_log_close(&lines);
}
END_TEST

/* --- pipes in flight -------------------------------------------------------------------------- */

enum { MANY = 3 * FD_MESSAGE_MAX + 5 };

static struct stderr_log many[MANY];
static int writers[MANY];

/* Opens pipes as the master does: so many in a round, and more in the next one. */
static void open_many(usec now)
{
    for (int i = 0; i < MANY; i++) {
        writers[i] = open_one(&many[i], i + 1);
        if (i % FD_MESSAGE_MAX == FD_MESSAGE_MAX - 1)
            stderr_log_end_round(set, true, now);
    }
}

static int count_flying(void)
{
    int count = 0;
    for (int i = 0; i < MANY; i++)
        count += many[i].watch.fd < 0;
    return count;
}

static void close_many(void)
{
    for (int i = 0; i < MANY; i++) {
        close(writers[i]);
        stderr_log_close(&many[i]);
    }
    ck_assert_int_eq(count_detached(), 0);
}

/* Each worker's words must come from its own pipe. */
static void check_words(int from, int to)
{
    char text[16], expected[48];
    for (int i = from; i < to; i++) {
        snprintf(text, sizeof text, "%d\n", i);
        snprintf(expected, sizeof expected, "worker %d: %d ", i + 1, i);
        put(writers[i], text);
        char all[1024] = "";
        ck_assert_int_gt(read(heard, all, sizeof all - 1), 0);
        ck_assert_ptr_nonnull(strstr(all, expected));
    }
}

START_TEST(new_pipes_fly_while_more_are_forked)
{
    rate.is_output = true; /* which may have more lines */
    open_many(clock_now());
    ck_assert_int_eq(count_flying(), 3 * FD_MESSAGE_MAX);
    put(writers[0], "early\n");
    ck_assert_str_eq(said(), "");
    stderr_log_end_round(set, false, clock_now());
    ck_assert_int_eq(count_flying(), 0);
    loop_wait(&loop, clock_now());
    ck_assert_str_eq(said(), "early|");
    check_words(0, MANY);
    close_many();
}
END_TEST

START_TEST(no_pipe_flies_for_long)
{
    usec now = clock_now();
    open_many(now);
    stderr_log_end_round(set, true, now + STDERR_LOG_FLIGHT - 1);
    ck_assert_int_eq(count_flying(), MANY);
    stderr_log_end_round(set, true, now + STDERR_LOG_FLIGHT);
    ck_assert_int_eq(count_flying(), 0);
    stderr_log_end_round(set, true, now + STDERR_LOG_FLIGHT + 1);
    ck_assert_int_eq(count_flying(), 0); /* only a new pipe is put in flight */
    close_many();
}
END_TEST

START_TEST(a_dead_worker_ends_the_flight)
{
    open_many(clock_now());
    put(writers[3], "last words");
    close(writers[3]);
    stderr_log_close(&many[3]);
    ck_assert_str_eq(said(), "last words|");
    ck_assert_int_eq(count_flying(), 1);
    close(writers[MANY - 1]); /* opened in this round, and not sent yet */
    stderr_log_close(&many[MANY - 1]);
    stderr_log_end_round(set, true, clock_now());
    ck_assert_int_eq(count_flying(), 2 + 4);
    stderr_log_take_back(set);
    ck_assert_int_eq(count_flying(), 2);
    writers[3] = open_one(&many[3], 4);
    check_words(0, 10);
    close_many();
}
END_TEST

static void limit_files(rlim_t most)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = most;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* What can't be taken back is lost, and nothing else. */
START_TEST(without_descriptors)
{
    char all[1024] = "";
    open_many(clock_now());
    int next = dup(0);
    close(next);
    limit_files((rlim_t)next); /* the first unused one, and those below are used */
    stderr_log_take_back(set);
    ck_assert_int_eq(count_flying(), 3 * FD_MESSAGE_MAX);
    ck_assert_int_gt(read(heard, all, sizeof all - 1), 0);
    ck_assert_ptr_nonnull(strstr(all, "the standard error of 192 workers is lost"));
    limit_files(1024);
    check_words(3 * FD_MESSAGE_MAX, MANY);
    close_many();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("lines");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, stderr_log_have_ends);
    tcase_add_test(tcase, unfinished_ones_are_told_in_a_while);
    tcase_add_test(tcase, connections_have_lines_of_their_own);
    tcase_add_test(tcase, odd_bytes);
    tcase_add_test(tcase, pipe_outlives_its_worker);
    tcase_add_test(tcase, pipe_that_nobody_holds_is_closed);
    tcase_add_loop_test(tcase, there_is_a_bound, STDERR_LOG_DETACHED - 1, STDERR_LOG_DETACHED + 4);
    tcase_add_test(tcase, what_is_handed_on);
    tcase_add_test(tcase, cut_lines_say_so);
    tcase_add_test(tcase, what_is_left_out_is_told_once);
    tcase_add_test(tcase, new_pipes_fly_while_more_are_forked);
    tcase_add_test(tcase, no_pipe_flies_for_long);
    tcase_add_test(tcase, a_dead_worker_ends_the_flight);
    tcase_add_test(tcase, without_descriptors);
    return unit_run("lines", tcase);
}
