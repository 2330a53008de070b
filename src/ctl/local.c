#include "local.h"

#include "../base/text.h"
#include "answer.h"

#include "build-config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A text without its last newline, and gives it back. */
static int say(struct text *text)
{
    char *written = text_close(text, true);
    if (!written)
        return answer_fail(MESSAGE_REFUSED, "%s", strerror(ENOMEM));
    written[strlen(written) - 1] = '\0';
    int status = answer_say(written);
    free(written);
    return status;
}

static void explain(FILE *out, const struct usage *usage)
{
    fprintf(out, "usage: preforkctl [-s SOCKET] [--json] %s%s%s\n%s\n", usage->word,
            usage->arguments[0] ? " " : "", usage->arguments, usage->help);
    if (usage->example)
        fprintf(out, "example: %s\n", usage->example);
    fputs("preforkctl(1) has the details.\n", out);
}

static int help(const char *word)
{
    char line[USAGE_LINE];
    struct text text;
    const struct usage *one = word ? usage_find(word) : NULL;
    if (word && !one)
        return answer_fail(MESSAGE_USAGE,
                           "unknown command \"%.80s\"; \"preforkctl help\" lists them", word);
    if (!text_open(&text))
        return answer_fail(MESSAGE_REFUSED, "%s", strerror(errno));
    if (one)
        explain(text.out, one);
    for (const struct usage *usage = usage_table; !one && usage->word; usage++)
        fprintf(text.out, "%s\n", usage_line(usage, line));
    return say(&text);
}

static int version(const char *word)
{
    (void)word;
    return answer_say("preforkctl " PREFORKD_VERSION);
}

/* journalctl takes the place of this process. */
static int logs(const char *pool)
{
    enum { MATCH = 256 };
    char match[MATCH] = "";
    const char *arguments[] = {"journalctl",     "--follow", "--lines=50",
                               "_COMM=preforkd", NULL,       NULL};
    if (pool) {
        if (snprintf(match, sizeof match, "PREFORKD_POOL=%s", pool) >= (int)sizeof match)
            return answer_fail(MESSAGE_USAGE, "that is no pool's name");
        arguments[4] = match;
    }
    if (answer_is_json())
        arguments[2] = "--output=json";
    if (access("/run/systemd/journal", F_OK) == 0)
        execvp(arguments[0], (char **)arguments);
    return answer_fail(MESSAGE_REFUSED,
                       "there is no journal here: the log is where syslog puts the facility "
                       "daemon, often /var/log/syslog or /var/log/messages%s%s",
                       pool ? "; the lines of this pool end with pool=" : "", pool ? pool : "");
}

int local_run(const struct message_request *request)
{
    static const struct {
        const char *word;
        int (*run)(const char *argument);
    } rows[] = {{"help", help}, {"version", version}, {"logs", logs}};
    const char *argument = NULL;
    int count = 0;
    for (int i = 1; i < request->count; i++)
        if (strcmp(request->words[i], "--json") != 0 && count++ == 0)
            argument = request->words[i];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].word, request->words[0]) != 0)
            continue;
        const struct usage *usage = usage_find(rows[i].word);
        if (usage_fits(usage, count))
            return rows[i].run(argument);
        return answer_fail(MESSAGE_USAGE, "usage: preforkctl %s %s", usage->word, usage->arguments);
    }
    return -1;
}
