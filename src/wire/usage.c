#include "usage.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { LOCAL = true };

const struct usage usage_table[] = {
    {"status", "[--brief]", "show the state of the pools", "preforkctl --json status --brief"},
    {"top", "", "the status, live in a terminal", NULL, LOCAL},
    {"deaths", "", "the last workers that ended unexpectedly, and why", NULL},
    {"logs", "[POOL]", "follow the log", "preforkctl logs web", LOCAL},
    {"reload", "[--dry-run]", "read the configuration again", "preforkctl reload --dry-run"},
    {"restart", "[POOL]", "replace workers by new ones", "preforkctl restart web"},
    {"scale", "POOL N", "give a pool N workers, until the next reload", "preforkctl scale web 8"},
    {"drain", "[POOL]", "accept nothing until it is resumed, or a reload", "preforkctl drain web"},
    {"resume", "[POOL]", "accept again after a drain", "preforkctl resume web"},
    {"stop", "", "stop when the connections in hand are done; twice: now", NULL},
    {"upgrade", "", "replace the running daemon by the binary on disk", NULL},
    {"ping", "", "check that the daemon answers", NULL},
    {"help", "[COMMAND]", "the commands, or how one of them is used", "preforkctl help scale",
     LOCAL},
    {"version", "", "the version of preforkctl", NULL, LOCAL},
    {0},
};

const struct usage *usage_find(const char *word)
{
    for (const struct usage *usage = usage_table; usage->word; usage++)
        if (strcmp(usage->word, word) == 0)
            return usage;
    return NULL;
}

const char *usage_line(const struct usage *usage, char line[static USAGE_LINE])
{
    char words[32];
    snprintf(words, sizeof words, "%s %s", usage->word, usage->arguments);
    snprintf(line, USAGE_LINE, "%-20s %s", words, usage->help);
    return line;
}

bool usage_fits(const struct usage *usage, int count)
{
    int least = 0, most = 0;
    for (const char *at = usage->arguments; *at; at += strspn(at, " ")) {
        most++;
        least += *at != '[';
        at += strcspn(at, " ");
    }
    return count >= least && count <= most;
}
