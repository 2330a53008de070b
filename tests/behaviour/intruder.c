/*
 * intruder - a program that attacks processes. Its arguments, or else the line that its client
 * sends, choose how:
 *
 * - signal NUMBER SECONDS: sends this signal to all processes that it may, for so long
 * - signals: sends every signal once, SIGKILL last
 * - root: becomes root as far as a set-user-ID program can, prints its pid, and stays
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

/* Linux leaves the sender out of kill(-1). */
static void send_for(int number, double seconds)
{
    for (double until = now() + seconds; now() < until; poll(NULL, 0, 1))
        for (int turn = 0; turn < 200; turn++)
            kill(-1, number);
}

static void send_every(void)
{
    for (int number = 1; number <= SIGRTMAX; number++)
        if (number != SIGKILL && number != SIGSTOP)
            kill(-1, number);
    kill(-1, SIGCONT);
    kill(-1, SIGKILL);
}

static void become_root(void)
{
    if (setgid(0) != 0 || setuid(0) != 0)
        perror("setuid");
    printf("%d %d\n", (int)getpid(), (int)getuid());
    fflush(stdout);
    poll(NULL, 0, 60 * 1000);
}

int main(int argc, char **argv)
{
    char line[256] = "", word[64] = "";
    int number = 0;
    double seconds = 0;
    signal(SIGTERM, SIG_IGN); /* it ignores requests to stop */
    signal(SIGHUP, SIG_IGN);
    if (argc > 1)
        snprintf(line, sizeof line, "%s %s %s", argv[1], argc > 2 ? argv[2] : "",
                 argc > 3 ? argv[3] : "");
    else if (!fgets(line, sizeof line, stdin))
        return EXIT_FAILURE;
    sscanf(line, "%63s %d %lf", word, &number, &seconds);
    if (strcmp(word, "signal") == 0)
        send_for(number, seconds);
    else if (strcmp(word, "signals") == 0)
        send_every();
    else if (strcmp(word, "root") == 0)
        become_root();
    puts("done");
    return EXIT_SUCCESS;
}
