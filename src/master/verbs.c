#include "verbs.h"

#include "../config/near.h"
#include "orders.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define STOP_HELP "stop when the connections in hand are done; twice: now"

enum { ASKS = true };

static void help(struct master *master, struct request *request);

const struct verb verbs[] = {
    {"status", 0, orders_status, "how the pools are", "", ASKS},
    {"deaths", 0, orders_deaths, "the last workers that ended unexpectedly, and why", "", ASKS},
    {"reload", SIGHUP, orders_reload, "read the configuration again", "[--dry-run]"},
    {"restart", 0, orders_restart, "replace workers by new ones", "[POOL]"},
    {"scale", 0, orders_scale, "give a pool N workers, until the next reload", "POOL N"},
    {"drain", SIGWINCH, orders_drain, "accept nothing until it is resumed, or a reload", "[POOL]"},
    {"resume", 0, orders_resume, "accept again after a drain", "[POOL]"},
    {"stop", SIGTERM, orders_stop, STOP_HELP, ""},
    {"upgrade", SIGUSR2, orders_upgrade, "replace the program by the one on disk", ""},
    {"ping", 0, orders_ping, "whether the daemon answers", "", ASKS},
    {"help", 0, help, "the commands", "", ASKS},
    {NULL, SIGINT, orders_stop, STOP_HELP},
    {NULL, SIGQUIT, orders_stop_now, "stop now"},
    {NULL, SIGUSR1, orders_tell, "write each pool's state to the log"},
    {NULL, SIGTTIN, orders_more, "one worker more in every pool"},
    {NULL, SIGTTOU, orders_fewer, "one worker fewer in every pool"},
    {NULL, SIGCHLD, NULL, "a child ended"},
    {0},
};

static bool is_row(const struct verb *verb)
{
    return verb->word || verb->signal;
}

void verbs_signals(sigset_t *set)
{
    sigemptyset(set);
    for (const struct verb *verb = verbs; is_row(verb); verb++)
        if (verb->signal)
            sigaddset(set, verb->signal);
}

const struct verb *verbs_by_signal(int number)
{
    for (const struct verb *verb = verbs; is_row(verb); verb++)
        if (verb->signal == number)
            return verb;
    return NULL;
}

static const struct verb *by_word(const char *word)
{
    for (const struct verb *verb = verbs; is_row(verb); verb++)
        if (verb->word && strcmp(verb->word, word) == 0)
            return verb;
    return NULL;
}

/* Whether there are as many as the table has words, those in brackets or not. */
static bool has_arguments(const struct verb *verb, int count)
{
    int least = 0, most = 0;
    for (const char *at = verb->arguments; *at; at += strspn(at, " ")) {
        most++;
        least += *at != '[';
        at += strcspn(at, " ");
    }
    return count >= least && count <= most;
}

static void reject_word(struct request *request, const char *word)
{
    struct near near;
    near_init(&near, word);
    for (const struct verb *verb = verbs; is_row(verb); verb++)
        if (verb->word)
            near_offer(&near, verb->word);
    if (near.nearest)
        request_misuse(request, "unknown command \"%.80s\"; did you mean \"%s\"?", word,
                       near.nearest);
    else
        request_misuse(request, "unknown command \"%.80s\"; \"help\" lists them", word);
}

const struct verb *verbs_of_request(struct request *request)
{
    const char *word = request_argument(request, 0);
    const struct verb *verb = word ? by_word(word) : NULL;
    if (verb && has_arguments(verb, request->words.count - 1))
        return verb;
    if (verb)
        request_misuse(request, "usage: preforkctl %s%s%s", verb->word,
                       verb->arguments[0] ? " " : "", verb->arguments);
    else
        reject_word(request, word ? word : "");
    return NULL;
}

static void help(struct master *master, struct request *request)
{
    (void)master;
    for (const struct verb *verb = verbs; is_row(verb); verb++) {
        char usage[32];
        if (!verb->word)
            continue;
        snprintf(usage, sizeof usage, "%s %s", verb->word, verb->arguments);
        request_say(request, "%-20s %s", usage, verb->help);
    }
}
