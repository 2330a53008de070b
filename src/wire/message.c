#include "message.h"

#include "../base/suggest.h"
#include "../base/units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

static int split(struct message_request *request, char *line)
{
    char *rest = NULL;
    *request = (struct message_request){0};
    for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (request->count == MESSAGE_WORDS)
            return -E2BIG;
        request->words[request->count++] = word;
    }
    return 0;
}

int message_read_request(struct message_request *request, char *bytes, size_t size, bool ended)
{
    size_t length = 0;
    while (length < size && bytes[length] != '\n') {
        if (is_control(bytes[length++]))
            return -EBADMSG;
    }
    bool whole = length < size;
    if (length + whole > MESSAGE_REQUEST_MAX || (!whole && !ended && size >= MESSAGE_REQUEST_MAX))
        return -E2BIG;
    if (!whole && !ended)
        return 0;
    bytes[length] = '\0';
    int error = split(request, bytes);
    return error ? error : (int)(length + whole);
}

int message_write_request(const struct message_request *request,
                          char bytes[static MESSAGE_REQUEST_MAX])
{
    size_t used = 0;
    if (request->count > MESSAGE_WORDS)
        return -E2BIG;
    for (int i = 0; i < request->count; i++) {
        const char *word = request->words[i];
        size_t size = strlen(word);
        for (size_t at = 0; at < size; at++)
            if (is_control(word[at]) || word[at] == ' ')
                return -EBADMSG;
        if (size == 0)
            return -EBADMSG;
        if (size + 1 > MESSAGE_REQUEST_MAX - used)
            return -E2BIG;
        memcpy(bytes + used, word, size);
        bytes[used + size] = i + 1 < request->count ? ' ' : '\n';
        used += size + 1;
    }
    return (int)used;
}

static const char *const status_words[] = {
    [MESSAGE_DONE] = "ok", [MESSAGE_REFUSED] = "refused", [MESSAGE_USAGE] = "usage"};

int message_write_head(const struct message_head *head, char line[static MESSAGE_HEAD])
{
    return snprintf(line, MESSAGE_HEAD, "%s %zu %zu\n", status_words[head->status], head->out,
                    head->err);
}

/* Reads a space and a number of 1 to 9 digits. Returns the text behind it, or NULL. */
static const char *read_size(const char *at, size_t *size)
{
    const char *digits = at + 1;
    if (*at != ' ')
        return NULL;
    *size = 0;
    for (at++; *at >= '0' && *at <= '9' && at - digits < 9; at++)
        *size = *size * 10 + (size_t)(*at - '0');
    return at > digits ? at : NULL;
}

int message_read_head(struct message_head *head, const char *bytes, size_t size)
{
    char line[MESSAGE_HEAD];
    const char *newline = memchr(bytes, '\n', size);
    size_t length = newline ? (size_t)(newline - bytes) : size;
    if (length >= sizeof line - 1)
        return -EPROTO;
    if (!newline)
        return 0;
    memcpy(line, bytes, length);
    line[length] = '\0';
    for (unsigned i = 0; i < sizeof status_words / sizeof *status_words; i++) {
        size_t word = strlen(status_words[i]);
        const char *at = strncmp(line, status_words[i], word) == 0 ? line + word : NULL;
        at = at ? read_size(at, &head->out) : NULL;
        at = at ? read_size(at, &head->err) : NULL;
        head->status = (enum message_status)i;
        if (at && at == line + length)
            return (int)length + 1;
    }
    return -EPROTO;
}

/* --- the commands -------------------------------------------------------------------------- */

const struct usage usage_table[] = {
    {"status", "[--brief]", "show the state of the pools", "preforkctl --json status --brief"},
    {"top", "", "show the status live, in a terminal"},
    {"deaths", "", "list the last workers that ended unexpectedly"},
    {"logs", "[POOL]", "follow the log", "preforkctl logs web"},
    {"reload", "[--dry-run]", "read the configuration again", "preforkctl reload --dry-run"},
    {"restart", "[POOL]", "replace the workers with new ones", "preforkctl restart web"},
    {"scale", "POOL N", "give a pool N workers, until the next reload", "preforkctl scale web 8"},
    {"drain", "[POOL]", "accept no connection until a resume or a reload", "preforkctl drain web"},
    {"resume", "[POOL]", "accept connections again after a drain", "preforkctl resume web"},
    {"stop", "", "finish the connections in hand, and stop; twice: stop now"},
    {"upgrade", "", "replace the running daemon with the binary on disk"},
    {"ping", "", "check that the daemon answers"},
    {"help", "[COMMAND]", "list the commands, or explain one of them", "preforkctl help scale"},
    {"version", "", "print the version of preforkctl"},
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

void usage_unknown(const char *word, char why[static USAGE_WHY])
{
    struct suggest near;
    suggest_init(&near, word);
    for (const struct usage *usage = usage_table; usage->word; usage++)
        suggest_offer(&near, usage->word);
    if (near.nearest)
        snprintf(why, USAGE_WHY, "unknown command \"%.80s\"; did you mean \"%s\"?", word,
                 near.nearest);
    else
        snprintf(why, USAGE_WHY, "unknown command \"%.80s\"; \"help\" lists them", word);
}

/* Whether an argument may stand for this word of the table: a literal such as "[--brief]" for
 * itself, any other for what the daemon knows. */
static bool is_literal_of(const char *slot, size_t length, const char *argument)
{
    bool literal = strncmp(slot, "[--", 3) == 0;
    return !literal ||
           (strlen(argument) == length - 2 && strncmp(slot + 1, argument, length - 2) == 0);
}

/* A number below zero is one: the daemon says which sizes are possible. */
static bool is_number(const char *word)
{
    const char *digits = word + (*word == '-');
    return *digits && digits[strspn(digits, "0123456789")] == '\0' && !digits_padded(word);
}

bool usage_accepts(const struct message_request *request, char why[static USAGE_WHY])
{
    const char *word = request->count ? request->words[0] : "";
    const struct usage *usage = usage_find(word);
    if (!usage) {
        usage_unknown(word, why);
        return false;
    }
    int used = 1;
    bool fits = true;
    const char *number = NULL;
    for (const char *at = usage->arguments; *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        if (used == request->count)
            fits &= *at == '[';
        else if (!is_literal_of(at, length, request->words[used]))
            fits = false;
        else if (strncmp(at, "N", length) == 0)
            number = request->words[used++];
        else
            used++;
        at += length;
    }
    if (!fits || used < request->count)
        snprintf(why, USAGE_WHY, "usage: preforkctl %s%s%s", word, usage->arguments[0] ? " " : "",
                 usage->arguments);
    else if (number && !is_number(number))
        snprintf(why, USAGE_WHY, "\"%.80s\" is not a number of workers%s", number,
                 digits_padded(number) ? " without leading zeroes" : "");
    else
        return true;
    return false;
}
