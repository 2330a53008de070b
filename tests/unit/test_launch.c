#include "../../src/base/launch.h"
#include "unit.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static _Atomic(pid_t) group, shown;

/* Runs a shell script, and returns its output. */
static void run(const char *script, char *output, size_t size)
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const char *arguments[] = {"sh", "-c", script, NULL};
    char greeting[] = "GREETING=hello";
    char *environment[] = {greeting, NULL};
    struct launch launch = {.path = "/bin/sh",
                            .directory = -1,
                            .error = -1,
                            .arguments = (char *const *)arguments,
                            .environment = environment,
                            .input = null,
                            .output = ends[1],
                            .group = &group,
                            .shown = &shown};
    pid_t pid = launch_program(&launch);
    close(ends[1]);
    close(null);
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(group, pid);
    ck_assert_int_eq(shown, pid);
    size_t length = 0;
    ssize_t n;
    while ((n = read(ends[0], output + length, size - 1 - length)) > 0)
        length += (size_t)n;
    output[length] = '\0';
    close(ends[0]);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(has_its_environment_and_no_other)
{
    char output[256];
    run("echo $GREETING; echo ${HOME-none}", output, sizeof output);
    ck_assert_str_eq(output, "hello\nnone\n");
}
END_TEST

START_TEST(has_three_descriptors)
{
    char output[256];
    int stray = dup(STDERR_FILENO); /* without close-on-exec, as a careless module may leave it */
    ck_assert_int_gt(stray, STDERR_FILENO);
    run("for d in /proc/self/fd/*; do [ -e $d ] && echo ${d##*/}; done", output, sizeof output);
    ck_assert_str_eq(output, "0\n1\n2\n");
    close(stray);
}
END_TEST

/* If it ran in the child, it would change what the parent sees. */
static volatile sig_atomic_t caught;
static void on_signal(int number)
{
    caught = number;
}

START_TEST(has_clean_signals)
{
    char output[256];
    sigset_t mask, now;
    /* Programs inherit ignored signals: those that a closed terminal or nohup(1) left are not
     * tested. */
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    sigemptyset(&mask);
    sigaddset(&mask, SIGHUP);
    sigaddset(&mask, SIGPIPE);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGQUIT, &action, NULL);
    run("grep -E 'Sig(Blk|Ign|Pnd)' /proc/self/status | tr -d '\\t0'", output, sizeof output);
    ck_assert_str_eq(output, "SigPnd:\nSigBlk:\nSigIgn:\n");
    sigprocmask(SIG_SETMASK, NULL, &now);
    ck_assert(sigismember(&now, SIGHUP) && !sigismember(&now, SIGTERM)); /* ours is unchanged */
    raise(SIGTERM);
    ck_assert_int_eq(caught, SIGTERM);
}
END_TEST

/* A caller that has asked for its pid once can pass it. */
START_TEST(takes_the_callers_pid)
{
    char name[] = "true";
    char *const arguments[] = {name, NULL};
    int status;
    struct launch launch = {.path = "/bin/true",
                            .directory = -1,
                            .error = -1,
                            .arguments = arguments,
                            .environment = arguments + 1,
                            .input = STDIN_FILENO,
                            .output = STDOUT_FILENO,
                            .group = &group,
                            .caller = getpid()};
    pid_t pid = launch_program(&launch);
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    launch.caller++; /* no such parent: the orphan runs nothing */
    pid = launch_program(&launch);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 127 << 8);
}
END_TEST

/* Only the program's death closes its end of the pipe. */
START_TEST(dies_with_its_parent)
{
    int ends[2];
    char byte;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t parent = fork();
    if (parent == 0) {
        const char *arguments[] = {"sh", "-c", "echo; exec sleep 1000", NULL};
        char *environment[] = {NULL};
        struct launch launch = {.path = "/bin/sh",
                                .directory = -1,
                                .error = -1,
                                .arguments = (char *const *)arguments,
                                .environment = environment,
                                .input = STDIN_FILENO,
                                .output = ends[1],
                                .group = &group};
        launch_program(&launch);
        close(ends[1]);
        for (;;)
            pause();
    }
    close(ends[1]);
    ck_assert_int_eq(read(ends[0], &byte, 1), 1); /* it runs */
    ck_assert_int_eq(kill(parent, SIGKILL), 0);
    ck_assert_int_eq(waitpid(parent, NULL, 0), parent);
    ck_assert_int_eq(read(ends[0], &byte, 1), 0);
    close(ends[0]);
}
END_TEST

START_TEST(leads_its_group)
{
    char output[256];
    run("cut -d' ' -f1,5 /proc/$$/stat", output, sizeof output);
    int pid, its_group;
    ck_assert_int_eq(sscanf(output, "%d %d", &pid, &its_group), 2);
    ck_assert_int_eq(pid, its_group);
}
END_TEST

START_TEST(says_why_it_cannot_start)
{
    static const struct {
        const char *path;
        int error;
    } cases[] = {{"/nowhere/at/all", ENOENT}, {"/etc/passwd", EACCES}, {"/", EACCES}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[] = "x";
        char *const arguments[] = {name, NULL};
        struct launch launch = {.path = cases[i].path,
                                .directory = -1,
                                .error = -1,
                                .arguments = arguments,
                                .environment = arguments + 1,
                                .input = STDIN_FILENO,
                                .output = STDOUT_FILENO,
                                .group = &group,
                                .shown = i ? &shown : NULL};
        shown = 7;
        ck_assert_int_eq(launch_program(&launch), -cases[i].error);
        ck_assert_int_eq(group, 0);
        ck_assert_int_eq(shown, i ? 0 : 7);
        ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("launch");
    tcase_add_test(tcase, has_its_environment_and_no_other);
    tcase_add_test(tcase, has_three_descriptors);
    tcase_add_test(tcase, has_clean_signals);
    tcase_add_test(tcase, takes_the_callers_pid);
    tcase_add_test(tcase, dies_with_its_parent);
    tcase_add_test(tcase, leads_its_group);
    tcase_add_test(tcase, says_why_it_cannot_start);
    return unit_run("launch", tcase);
}
