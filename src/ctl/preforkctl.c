/*
 * preforkctl - sends its arguments to the daemon, prints the reply, and exits with its status. It
 * formats status and deaths itself. The commands help, version, logs and top are its own: the first
 * three need no daemon, and top repeats status.
 */
#include "../base/daemon.h"
#include "../base/text.h"
#include "link.h"
#include "report.h"
#include "top.h"

#include "build-config.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { END_TIMEOUT = 10000 }; /* ms, from the end of the reply to the end of the connection */

/* --- answers of preforkctl itself: text, or with --json an object like the daemon's ----------- */

static bool as_json; /* --json was given */

/* Flushes standard output. False, with a message, if not all of it could be written. */
static bool flush_output(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    perror("preforkctl: standard output");
    return false;
}

static void print_object(bool ok, const char *text, const char *error)
{
    struct buffer json = {0};
    buffer_print(&json, "{\"ok\":%s,\"text\":", ok ? "true" : "false");
    buffer_add_quoted(&json, text, strlen(text));
    if (error) {
        buffer_print(&json, ",\"error\":");
        buffer_add_quoted(&json, error, strlen(error));
    }
    buffer_print(&json, "}\n");
    fwrite(json.at, 1, json.used, stdout);
    buffer_done(&json);
}

/* Prints a result. Returns the exit status: MESSAGE_REFUSED if it could not be written. */
static int print_result(const char *text)
{
    if (as_json)
        print_object(true, text, NULL);
    else
        printf("%s\n", text);
    return flush_output() ? MESSAGE_DONE : MESSAGE_REFUSED;
}

/* Prints why there is no result. Returns `status`, or MESSAGE_REFUSED if it could not be
 * written. */
__attribute__((format(printf, 2, 3))) static int print_error(int status, const char *format, ...)
{
    char raw[1024], error[sizeof raw];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    text_clean(error, sizeof error, raw, sizeof raw);
    if (as_json)
        print_object(false, "", error);
    else
        fprintf(stderr, "preforkctl: %s\n", error);
    return flush_output() ? status : MESSAGE_REFUSED;
}

/* --- its own commands ------------------------------------------------------------------------- */

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
    char line[USAGE_LINE], why[USAGE_WHY];
    struct text text;
    const struct usage *one = word ? usage_find(word) : NULL;
    if (word && !one) {
        usage_unknown(word, why);
        return print_error(MESSAGE_USAGE, "%s", why);
    }
    if (!text_open(&text))
        return print_error(MESSAGE_REFUSED, "%s", strerror(errno));
    if (one)
        explain(text.out, one);
    for (const struct usage *usage = usage_table; !one && usage->word; usage++)
        fprintf(text.out, "%s\n", usage_line(usage, line));
    char *written = text_close(&text, true);
    if (!written)
        return print_error(MESSAGE_REFUSED, "%s", strerror(ENOMEM));
    written[strlen(written) - 1] = '\0'; /* print_result adds the last newline */
    int status = print_result(written);
    free(written);
    return status;
}

static int version(const char *word)
{
    (void)word;
    return print_result("preforkctl " PREFORKD_VERSION);
}

/* Replaces this process by journalctl. */
static int logs(const char *pool)
{
    enum { MATCH = 256 };
    char match[MATCH] = "";
    const char *arguments[] = {"journalctl",     "--follow", "--lines=50",
                               "_COMM=preforkd", NULL,       NULL};
    if (pool) {
        if (snprintf(match, sizeof match, "PREFORKD_POOL=%s", pool) >= (int)sizeof match)
            return print_error(MESSAGE_USAGE, "that is no pool's name");
        arguments[4] = match;
    }
    if (as_json)
        arguments[2] = "--output=json";
    if (access("/run/systemd/journal", F_OK) == 0)
        execvp(arguments[0], (char **)arguments);
    return print_error(MESSAGE_REFUSED,
                       "there is no journal here: the log is where syslog puts the facility "
                       "daemon, often /var/log/syslog or /var/log/messages%s%s",
                       pool ? "; the lines of this pool have pool=" : "", pool ? pool : "");
}

/* Runs a command of preforkctl's own, and returns its exit status; -1 for any other command. */
static int run_own_command(const struct message_request *command)
{
    static const struct {
        const char *word;
        int (*run)(const char *argument);
    } rows[] = {{"help", help}, {"version", version}, {"logs", logs}};
    const char *argument = command->count > 1 ? command->words[1] : NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].word, command->words[0]) == 0)
            return rows[i].run(argument);
    return -1;
}

/* --- the daemon's commands -------------------------------------------------------------------- */

/* What the daemon said: its answer, and why it refused. */
struct reply {
    struct text output, errors;
};

static bool reply_open(struct reply *reply)
{
    return text_open(&reply->output) && text_open(&reply->errors);
}

static void take_text(void *owner, bool is_error, const char *text, size_t size)
{
    struct reply *reply = owner;
    FILE *out = is_error ? reply->errors.out : reply->output.out;
    if (ftello(out) < REPORT_MAX)
        fwrite(text, 1, size, out);
}

/* Prints why there is no reply. Returns the exit status. */
static int report_failure(const char *where, int error)
{
    bool no_daemon = error == ENOENT || error == ENOTDIR || error == ECONNREFUSED;
    if (error == EBADMSG)
        return print_error(MESSAGE_USAGE,
                           "an argument is empty, or has a space or a control character");
    int status = no_daemon                                 ? MESSAGE_NOBODY
                 : error == E2BIG || error == ENAMETOOLONG ? MESSAGE_USAGE
                                                           : MESSAGE_REFUSED;
    return print_error(status, "%s: %s%s", where, strerror(error),
                       no_daemon ? ": no daemon is running there" : "");
}

/* After the reply, waits for the end of the connection: a daemon that stops closes it by
 * exiting. */
static int read_reply(struct link *link, struct reply *reply)
{
    int more = 1;
    do {
        struct pollfd end = {.fd = link->fd, .events = POLLIN};
        if (link_ended(link) && poll(&end, 1, END_TIMEOUT) == 0)
            break;
        more = link_read(link, take_text, reply);
    } while (more > 0);
    if (link_ended(link))
        return (int)link->head.status;
    if (more == -EPROTO)
        return print_error(MESSAGE_REFUSED, "no preforkd answers there, or one of another version");
    return print_error(MESSAGE_REFUSED, "the daemon closed the connection: %s",
                       more == -ECONNABORTED ? "it ended, or did not want to wait"
                                             : strerror(-more));
}

/* Prints the requested report, or why it was refused. */
static int print_report(const struct text *report, int status, bool coloured)
{
    const struct view_options options = {.coloured = coloured};
    char *text = report->size ? report_show(report->written, report->size, &options) : NULL;
    if (text)
        fputs(text, status == MESSAGE_DONE ? stdout : stderr);
    else if (report->size || status == MESSAGE_DONE)
        fputs("preforkctl: the answer is no report\n", stderr);
    bool failed = !text && status == MESSAGE_DONE;
    free(text);
    return failed ? MESSAGE_REFUSED : status;
}

/* Another process may listen there, or a program may have chosen the text: so nothing in it reaches
 * the terminal as a command. */
static int print_reply(const struct reply *reply, int status, bool is_report, bool coloured)
{
    text_write(stderr, reply->errors.written, reply->errors.size, false);
    if (is_report)
        return print_report(&reply->output, status, coloured);
    text_write(stdout, reply->output.written, reply->output.size, as_json);
    return status;
}

static int ask(const char *path, struct message_request *request, bool coloured)
{
    const char *where;
    struct link link;
    struct reply reply = {0};
    bool is_report = report_ask(request);
    int error = link_open(&link, path, request, &where);
    if (error)
        return report_failure(where, -error);
    if (!reply_open(&reply))
        return report_failure("the answer", errno);
    int status = read_reply(&link, &reply);
    link_close(&link);
    if (fclose(reply.output.out) == 0 && fclose(reply.errors.out) == 0)
        status = print_reply(&reply, status, is_report, coloured);
    else
        status = report_failure("the answer", ENOMEM);
    free(reply.output.written);
    free(reply.errors.written);
    return flush_output() ? status : MESSAGE_REFUSED;
}

/* Whether standard output is a terminal that obeys control sequences. */
static bool on_screen(void)
{
    const char *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && terminal && terminal[0] && strcmp(terminal, "dumb") != 0;
}

/* See https://no-color.org. */
static bool wants_colours(void)
{
    const char *none = getenv("NO_COLOR");
    return on_screen() && !(none && none[0]);
}

static int run_top(const char *path, bool coloured)
{
    const char *where;
    struct message_request status = {.count = 1 + as_json, .words = {"status", "--json"}};
    if (as_json || !isatty(STDIN_FILENO) || !on_screen())
        return ask(path, &status, coloured);
    int error = top_run(path, &status, coloured, &where);
    return error ? report_failure(where, -error) : MESSAGE_DONE;
}

static void print_usage(FILE *out)
{
    fputs("usage: preforkctl [-s SOCKET] [--json] COMMAND [ARGUMENT ...]\n"
          "  -s, --socket SOCKET  the daemon's control socket (" PLACE_CONTROL ",\n"
          "                       or your own daemon's in $" PLACE_OWN_UNDER ")\n"
          "  -j, --json           answer in JSON\n"
          "  -V, --version        print the version\n"
          "  -h, --help           print this\n"
          "\"preforkctl help\" lists the commands, \"preforkctl help COMMAND\" explains one.\n",
          out);
}

/* Reads the options, and fills the request. Returns an exit status, or -1 to go on. */
static int parse(struct message_request *request, const char **path, int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int letter;
    while ((letter = getopt_long(argc, argv, "+js:Vh", options, NULL)) != -1) {
        switch (letter) {
        case 's': *path = optarg; break;
        case 'j': as_json = true; break;
        case 'V': printf("preforkctl %s\n", PREFORKD_VERSION); return MESSAGE_DONE;
        case 'h': print_usage(stdout); return MESSAGE_DONE;
        default: print_usage(stderr); return MESSAGE_USAGE;
        }
    }
    if (optind == argc || argc - optind + as_json > MESSAGE_WORDS) {
        int status = print_error(MESSAGE_USAGE,
                                 optind == argc ? "a command is missing" : "too many arguments");
        if (!as_json)
            print_usage(stderr);
        return status;
    }
    for (; optind < argc; optind++)
        request->words[request->count++] =
            strcmp(argv[optind], "-j") == 0 ? "--json" : argv[optind];
    if (as_json)
        request->words[request->count++] = "--json";
    return -1;
}

int main(int argc, char **argv)
{
    struct message_request request = {0}, command = {0}; /* the command has no --json */
    const char *path = NULL;
    char why[USAGE_WHY];
    int status = parse(&request, &path, argc, argv);
    if (status >= 0)
        return status;
    for (int i = 0; i < request.count; i++)
        if (strcmp(request.words[i], "--json") == 0)
            as_json = true;
        else
            command.words[command.count++] = request.words[i];
    if (!usage_accepts(&command, why))
        return print_error(MESSAGE_USAGE, "%s", why);
    if ((status = run_own_command(&command)) >= 0)
        return status;
    if (strcmp(command.words[0], "top") == 0)
        return run_top(path, wants_colours());
    return ask(path, &request, wants_colours());
}
