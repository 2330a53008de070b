#include "../../src/master/stderr_log.h"
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
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
    return unit_run("lines", tcase);
}
