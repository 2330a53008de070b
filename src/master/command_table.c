#include "command_table.h"

#include "../config/suggest.h"
#include "commands.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define STOP_HELP "stop when the connections in hand are done; twice: now"

enum { ASKS = true };

static void help(struct master *master, struct request *request);

const struct command command_table[] = {
    {"status", 0, commands_status, "how the pools are", "", ASKS},
    {"deaths", 0, commands_deaths, "the last workers that ended unexpectedly, and why", "", ASKS},
    {"reload", SIGHUP, commands_reload, "read the configuration again", "[--dry-run]"},
    {"restart", 0, commands_restart, "replace workers by new ones", "[POOL]"},
    {"scale", 0, commands_scale, "give a pool N workers, until the next reload", "POOL N"},
    {"drain", SIGWINCH, commands_drain, "accept nothing until it is resumed, or a reload",
     "[POOL]"},
    {"resume", 0, commands_resume, "accept again after a drain", "[POOL]"},
    {"stop", SIGTERM, commands_stop, STOP_HELP, ""},
    {"upgrade", SIGUSR2, commands_upgrade, "replace the program by the one on disk", ""},
    {"ping", 0, commands_ping, "whether the daemon answers", "", ASKS},
    {"help", 0, help, "the commands", "", ASKS},
    {NULL, SIGINT, commands_stop, STOP_HELP},
    {NULL, SIGQUIT, commands_stop_now, "stop now"},
    {NULL, SIGUSR1, commands_tell, "write each pool's state to the log"},
    {NULL, SIGTTIN, commands_more, "one worker more in every pool"},
    {NULL, SIGTTOU, commands_fewer, "one worker fewer in every pool"},
    {NULL, SIGCHLD, NULL, "a child ended"},
    {0},
};

static bool is_row(const struct command *command)
{
    return command->word || command->signal;
}

void command_table_signals(sigset_t *set)
{
    sigemptyset(set);
    for (const struct command *command = command_table; is_row(command); command++)
        if (command->signal)
            sigaddset(set, command->signal);
}

const struct command *command_table_by_signal(int number)
{
    for (const struct command *command = command_table; is_row(command); command++)
        if (command->signal == number)
            return command;
    return NULL;
}

static const struct command *by_word(const char *word)
{
    for (const struct command *command = command_table; is_row(command); command++)
        if (command->word && strcmp(command->word, word) == 0)
            return command;
    return NULL;
}

/* Whether there are as many as the table has words, those in brackets or not. */
static bool has_arguments(const struct command *command, int count)
{
    int least = 0, most = 0;
    for (const char *at = command->arguments; *at; at += strspn(at, " ")) {
        most++;
        least += *at != '[';
        at += strcspn(at, " ");
    }
    return count >= least && count <= most;
}

static void reject_word(struct request *request, const char *word)
{
    struct suggest near;
    suggest_init(&near, word);
    for (const struct command *command = command_table; is_row(command); command++)
        if (command->word)
            suggest_offer(&near, command->word);
    if (near.nearest)
        request_misuse(request, "unknown command \"%.80s\"; did you mean \"%s\"?", word,
                       near.nearest);
    else
        request_misuse(request, "unknown command \"%.80s\"; \"help\" lists them", word);
}

const struct command *command_table_of_request(struct request *request)
{
    const char *word = request_argument(request, 0);
    const struct command *command = word ? by_word(word) : NULL;
    if (command && has_arguments(command, request->words.count - 1))
        return command;
    if (command)
        request_misuse(request, "usage: preforkctl %s%s%s", command->word,
                       command->arguments[0] ? " " : "", command->arguments);
    else
        reject_word(request, word ? word : "");
    return NULL;
}

static void help(struct master *master, struct request *request)
{
    (void)master;
    for (const struct command *command = command_table; is_row(command); command++) {
        char usage[32];
        if (!command->word)
            continue;
        snprintf(usage, sizeof usage, "%s %s", command->word, command->arguments);
        request_say(request, "%-20s %s", usage, command->help);
    }
}
