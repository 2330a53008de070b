/*
 * preforkctl - asks the daemon. It knows no commands: it sends its arguments, prints what comes
 * back, and exits as it is told. Only `top` is its own: `status`, again and again.
 */
#include "link.h"
#include "top.h"

#include "../base/control_path.h"

#include "build-config.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { END_PATIENCE = 10000 }; /* ms, from the last word of the daemon to its closing */

static void print_usage(FILE *out)
{
    fputs("usage: preforkctl [-s SOCKET] [--json] COMMAND [ARGUMENT ...]\n"
          "  -s, --socket SOCKET  the daemon's control socket (" PLACE_CONTROL ",\n"
          "                       or your own daemon's in $" PLACE_OWN_UNDER ")\n"
          "  -j, --json           answer in JSON\n"
          "  -V, --version        print the version\n"
          "  -h, --help           print this\n"
          "\"preforkctl help\" lists the daemon's commands. Beside them there is top: the status, "
          "live.\n",
          out);
}

static void print(void *owner, uint8_t type, const char *text, size_t size)
{
    (void)owner;
    if (type == MESSAGE_OUT)
        fwrite(text, 1, size, stdout);
    else if (type == MESSAGE_ERR)
        fwrite(text, 1, size, stderr);
}

/* What keeps us from talking to the daemon, and the status that says so. */
static int complain(const char *where, int error)
{
    fprintf(stderr, "preforkctl: %s: %s\n", where, strerror(error));
    if (error == ENOENT || error == ECONNREFUSED) {
        fprintf(stderr, "preforkctl: no daemon there\n");
        return MESSAGE_NOBODY;
    }
    return error == E2BIG || error == ENAMETOOLONG ? MESSAGE_USAGE : MESSAGE_REFUSED;
}

/* When it has told the status there is nothing more to read but its closing: of a daemon that stops
 * that comes with its end. */
static int read_reply(struct link *link)
{
    int more = 1;
    do {
        struct pollfd end = {.fd = link->fd, .events = POLLIN};
        if (link->ended && poll(&end, 1, END_PATIENCE) == 0)
            break;
        more = link_read(link, print, NULL);
    } while (more > 0);
    if (link->ended)
        return link->status;
    fprintf(stderr, "preforkctl: the daemon broke off: %s\n",
            more == -EPROTO ? "it ended, or did not want to wait" : strerror(-more));
    return MESSAGE_REFUSED;
}

static int ask(const char *path, const struct message_request *request)
{
    const char *where;
    struct link link;
    int error = link_open(&link, path, request, &where);
    if (error)
        return complain(where, -error);
    int status = read_reply(&link);
    link_close(&link);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("preforkctl: standard output");
        return MESSAGE_REFUSED;
    }
    return status;
}

/* See https://no-color.org. */
static bool wants_colours(void)
{
    const char *none = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(none && none[0]) && terminal && strcmp(terminal, "dumb") != 0;
}

static int watch(const char *path, const struct message_request *request)
{
    const char *where;
    struct message_request status = {.count = 1, .words = {"status"}};
    if (request->count > 1 || request->flags & MESSAGE_JSON) {
        fputs("preforkctl: top takes no arguments\n", stderr);
        return MESSAGE_USAGE;
    }
    status.flags = request->flags;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return ask(path, &status);
    int error = top_run(path, &status, &where);
    return error ? complain(where, -error) : MESSAGE_DONE;
}

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
        case 'j': request->flags |= MESSAGE_JSON; break;
        case 'V': printf("preforkctl %s\n", PREFORKD_VERSION); return MESSAGE_DONE;
        case 'h': print_usage(stdout); return MESSAGE_DONE;
        default: print_usage(stderr); return MESSAGE_USAGE;
        }
    }
    if (optind == argc || argc - optind > MESSAGE_WORDS) {
        fputs(optind == argc ? "preforkctl: a command is missing\n"
                             : "preforkctl: too many arguments\n",
              stderr);
        print_usage(stderr);
        return MESSAGE_USAGE;
    }
    if (wants_colours())
        request->flags |= MESSAGE_COLOUR;
    while (optind < argc)
        request->words[request->count++] = argv[optind++];
    return -1;
}

int main(int argc, char **argv)
{
    struct message_request request = {0};
    const char *path = NULL;
    int status = parse(&request, &path, argc, argv);
    if (status >= 0)
        return status;
    if (strcmp(request.words[0], "top") == 0)
        return watch(path, &request);
    return ask(path, &request);
}
