#include "verbs.h"

#include <signal.h>
#include <stddef.h>

#define STOP_HELP "stop when the connections in hand are done; twice: now"

const struct verb verbs[] = {
    {"reload", SIGHUP, master_reload, "read the configuration again"},
    {"stop", SIGTERM, master_stop, STOP_HELP},
    {NULL, SIGINT, master_stop, STOP_HELP},
    {NULL, SIGQUIT, master_stop_now, "stop now"},
    {NULL, SIGUSR1, master_tell, "write each pool's state to the log"},
    {"upgrade", SIGUSR2, master_upgrade, "replace the program by the one on disk"},
    {NULL, SIGTTIN, master_more, "one worker more in every pool"},
    {NULL, SIGTTOU, master_fewer, "one worker fewer in every pool"},
    {"drain", SIGWINCH, master_drain, "accept nothing until a reload"},
    {NULL, SIGCHLD, NULL, "a child ended"},
    {0},
};

void verbs_signals(sigset_t *set)
{
    sigemptyset(set);
    for (const struct verb *verb = verbs; verb->signal; verb++)
        sigaddset(set, verb->signal);
}

const struct verb *verbs_by_signal(int number)
{
    for (const struct verb *verb = verbs; verb->signal; verb++)
        if (verb->signal == number)
            return verb;
    return NULL;
}
