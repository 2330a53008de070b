/*
 * status - the pools' state over HTTP: a page, JSON, metrics, health.
 *
 * The answers come from shared memory alone, so they do not depend on other pools. status_http, a
 * shared object that only the workers of status load, does HTTP itself. Each connection gets one
 * answer and is closed, so that two workers serve many clients.
 */
#include "../reports/status.h"
#include "../reports/metrics.h"
#include "../reports/snapshot.h"
#include "build-config.h"
#include "handler.h"
#include "status_http.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    RECHECK_MSEC = 50, /* between two checks of a pool that may be full only for a moment */
    TARGET_MAX = 256,  /* more than any path that exists needs */
};

static const struct option_row no_rows[] = {OPTION_END};

static const struct option_default defaults[] = {
    {"idle_timeout", "5"}, {"request_timeout", "10"}, {NULL, NULL}};

/* The worker enforces these options itself, as they were at its start. */
static const char *const kept[] = {"request_timeout", NULL};

#if HAVE_MICROHTTPD

static const struct status_http *http;
static struct procstat procstat = {.processes = true};

/* Refreshed for each answer. */
static const struct procstat *current_procstat(const struct service *service)
{
    procstat.shown = service->shown_times;
    procstat_look(&procstat, service->view, clock_now());
    return &procstat;
}

/* --- the format of the metrics: the header Accept (RFC 9110, 12.5.1) -------------------------- */

static const char *const accept_types[] = {
    [METRICS_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
    [METRICS_OPEN] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/* How closely a media range of the header matches a type that we offer. If several ranges match,
 * the closest counts. */
enum match { NO_MATCH, MATCHES_ALL, MATCHES_KIND, MATCHES_TYPE, MATCHES_VERSION };

/* A piece of the header, without surrounding white space. */
struct piece {
    const char *at;
    size_t length;
};

struct offer {
    const char *kind, *type, *version;
};

/* Cuts the next piece, up to a separator, off the text. */
static struct piece next_piece(struct piece *from, char separator)
{
    const char *end = memchr(from->at, separator, from->length);
    size_t length = end ? (size_t)(end - from->at) : from->length;
    struct piece piece = {from->at, length};
    size_t taken = end ? length + 1 : length;
    from->at += taken;
    from->length -= taken;
    while (piece.length && (*piece.at == ' ' || *piece.at == '\t'))
        piece.at++, piece.length--;
    while (piece.length &&
           (piece.at[piece.length - 1] == ' ' || piece.at[piece.length - 1] == '\t'))
        piece.length--;
    return piece;
}

static bool piece_is(struct piece piece, const char *word)
{
    return piece.length == strlen(word) && strncasecmp(piece.at, word, piece.length) == 0;
}

static struct piece unquoted(struct piece value)
{
    if (value.length >= 2 && value.at[0] == '"' && value.at[value.length - 1] == '"')
        return (struct piece){value.at + 1, value.length - 2};
    return value;
}

/* "0.75" as 750; anything that is no such number as 0, so that nothing is sent that may be
 * unwanted. */
static int read_quality(struct piece value)
{
    int quality = 0, scale = 1000;
    for (size_t i = 0; i < value.length && i < 5; i++) {
        char c = value.at[i];
        if (i == 1 && c == '.')
            continue;
        if (c < '0' || c > '9')
            return 0;
        quality += (c - '0') * scale;
        scale /= 10;
    }
    return quality <= 1000 ? quality : 0;
}

/* Reads a range's parameters. */
static enum match read_parameters(struct piece range, const struct offer *offer, enum match match,
                                  int *quality)
{
    *quality = 1000;
    while (range.length) {
        struct piece value = next_piece(&range, ';'), name = next_piece(&value, '=');
        if (piece_is(name, "q"))
            *quality = read_quality(value);
        else if (piece_is(name, "version"))
            match = match >= MATCHES_TYPE && piece_is(unquoted(value), offer->version)
                        ? MATCHES_VERSION
                        : NO_MATCH;
    }
    return match;
}

static enum match read_range(struct piece range, const struct offer *offer, int *quality)
{
    struct piece type = next_piece(&range, ';'), kind = next_piece(&type, '/');
    enum match match = NO_MATCH;
    if (piece_is(kind, offer->kind))
        match = piece_is(type, offer->type) ? MATCHES_TYPE
                : piece_is(type, "*")       ? MATCHES_KIND
                                            : NO_MATCH;
    else if (piece_is(kind, "*") && piece_is(type, "*"))
        match = MATCHES_ALL;
    return read_parameters(range, offer, match, quality);
}

/* How closely the best range matches, and its quality in thousandths. */
static enum match weigh(const char *accept, const struct offer *offer, int *quality)
{
    struct piece header = {accept, strlen(accept)};
    enum match best = NO_MATCH;
    *quality = 0;
    while (header.length) {
        int wanted;
        enum match match = read_range(next_piece(&header, ','), offer, &wanted);
        if (match < best || match == NO_MATCH || (match == best && wanted <= *quality))
            continue;
        best = match;
        *quality = wanted;
    }
    return best;
}

/* OpenMetrics if the client names it and prefers nothing else. `accept` may be NULL, or any text
 * that a client sends. */
static enum metrics_format accept_metrics(const char *accept)
{
    static const struct offer text = {"text", "plain", "0.0.4"};
    static const struct offer open = {"application", "openmetrics-text", "1.0.0"};
    int text_wanted, open_wanted;
    if (!accept)
        return METRICS_TEXT;
    weigh(accept, &text, &text_wanted);
    bool named = weigh(accept, &open, &open_wanted) >= MATCHES_TYPE;
    return named && open_wanted > 0 && open_wanted >= text_wanted ? METRICS_OPEN : METRICS_TEXT;
}

/* --- the answers ------------------------------------------------------------------------------ */

static void set_text(struct status_answer *answer, int code, char *text)
{
    answer->code = code;
    answer->type = "text/plain; charset=utf-8";
    answer->body = text;
    answer->size = text ? strlen(text) : 0;
}

/* A sentence and a newline; without memory for it, the code alone. */
static void set_sentence(struct status_answer *answer, int code, const char *word)
{
    char *text = NULL;
    if (asprintf(&text, "%s\n", word) < 0)
        text = NULL;
    set_text(answer, code, text);
}

static void answer_page(const struct service *service, const struct status_question *question,
                        struct status_answer *answer)
{
    (void)service, (void)question;
    answer->code = 200;
    answer->is_page = true;
    answer->type = "text/html; charset=utf-8";
}

static void answer_json(const struct service *service, const struct status_question *question,
                        struct status_answer *answer)
{
    (void)question;
    char *text = status_json(service->view, current_procstat(service), STATUS_WHOLE, clock_now());
    if (!text) {
        set_sentence(answer, HAVE_JANSSON ? 503 : 501,
                     HAVE_JANSSON ? "out of memory" : "this preforkd was built without jansson");
        return;
    }
    set_text(answer, 200, text);
    answer->type = "application/json";
}

static void answer_metrics(const struct service *service, const struct status_question *question,
                           struct status_answer *answer)
{
    enum metrics_format format = accept_metrics(question->accept);
    char *text = metrics_text(service->view, current_procstat(service), format);
    if (!text) {
        set_sentence(answer, 503, "out of memory");
        return;
    }
    set_text(answer, 200, text);
    answer->type = accept_types[format];
    answer->varies = "Accept";
}

/* Prints a line for each pool with an ailment. Returns whether a pool may be full, which one look
 * can't tell. */
static bool print_ailments(FILE *out, const struct snapshot *snapshot, struct health *health,
                           usec now)
{
    bool unsure = false;
    for (int i = 0; i < snapshot->count; i++) {
        const struct snapshot_pool *pool = &snapshot->pools[i];
        enum ailment ailment = health_of(health, i, pool, now);
        unsure = unsure || ailment == AILS_MAYBE_FULL;
        if (ailment > AILS_MAYBE_FULL)
            fprintf(out, "pool %s: %s%s%s\n", pool->name, ailment_words[ailment],
                    pool->trouble[0] ? ": " : "", pool->trouble);
    }
    return unsure;
}

/* The ailments of the pools, as a text from malloc(), empty if there are none. NULL: no memory. */
static char *ailments_text(const struct service *service, struct health *health, bool *unsure)
{
    static struct procstat queues; /* without processes, which health does not need */
    struct text text;
    procstat_look(&queues, service->view, clock_now());
    struct snapshot *snapshot = snapshot_take(service->view, &queues);
    if (!snapshot || !text_open(&text)) {
        free(snapshot);
        return NULL;
    }
    *unsure = print_ailments(text.out, snapshot, health, clock_now());
    free(snapshot);
    return text_close(&text, true);
}

/* A pool counts as full after a second without a free seat. If connections are shorter than that,
 * one look can't tell, so the pool is checked again until it has a free seat, or the second is
 * over. */
static void answer_health(const struct service *service, const struct status_question *question,
                          struct status_answer *answer)
{
    static struct health health;
    bool unsure = false;
    (void)question;
    health = (struct health){0};
    char *text = ailments_text(service, &health, &unsure);
    while (text && !text[0] && unsure) {
        free(text);
        poll(NULL, 0, RECHECK_MSEC);
        text = ailments_text(service, &health, &unsure);
    }
    if (text && text[0]) {
        set_text(answer, 503, text);
        return;
    }
    set_sentence(answer, text ? 200 : 503, text ? "ok" : "out of memory");
    free(text);
}

/* --- choosing the answer ---------------------------------------------------------------------- */

static const struct {
    const char *path;
    void (*answer)(const struct service *service, const struct status_question *question,
                   struct status_answer *answer);
} paths[] = {
    {"/", answer_page},
    {"/status.json", answer_json},
    {"/metrics", answer_metrics},
    {"/healthz", answer_health},
};

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef0123456789ABCDEF", *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) % 16 : -1;
}

/* The decoded path of a target: "/metrics", of "http://host/metrics" too, which every server must
 * accept (RFC 9112, 3.2.2). False if there is none, or it is longer than any path that exists. */
static bool read_path(const char *target, char path[static TARGET_MAX])
{
    size_t used = 0;
    if (strncasecmp(target, "http://", 7) == 0) {
        target += 7 + strcspn(target + 7, "/?");
        if (!*target)
            target = "/";
    }
    for (; *target && *target != '?'; target++) {
        int high = *target == '%' ? hex_digit(target[1]) : -1;
        int low = high >= 0 ? hex_digit(target[2]) : -1;
        if (used == TARGET_MAX - 1 || (*target == '%' && (low < 0 || high * 16 + low == 0)))
            return false;
        path[used++] = low < 0 ? *target : (char)(high * 16 + low);
        target += low < 0 ? 0 : 2;
    }
    path[used] = '\0';
    return path[0] == '/';
}

/* ".", ".." and doubled slashes are not resolved: a path that has them is not found. */
static void answer_question(void *owner, const struct status_question *question,
                            struct status_answer *answer)
{
    char path[TARGET_MAX];
    bool reads = strcmp(question->method, "GET") == 0 || strcmp(question->method, "HEAD") == 0;
    if (!read_path(question->target, path)) {
        set_sentence(answer, 400, "this is no path");
        return;
    }
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (strcmp(path, paths[i].path) != 0)
            continue;
        if (reads) {
            paths[i].answer(owner, question, answer);
        } else {
            set_sentence(answer, 405, "only GET and HEAD are answered");
            answer->allow = "GET, HEAD";
        }
        return;
    }
    set_sentence(answer, 404, "there are /, /status.json, /metrics and /healthz");
}

/* --- the handler ------------------------------------------------------------------------------ */

/* The name has no directory: the program's own run path leads to the file, in the build directory
 * and where it is installed. */
static int status_load(char *why, size_t size)
{
    void *object = dlopen(STATUS_HTTP_FILE, RTLD_NOW | RTLD_LOCAL);
    const struct status_http *found = object ? dlsym(object, STATUS_HTTP_SYMBOL) : NULL;
    if (!found) {
        const char *says = dlerror();
        snprintf(why, size, "can't load the handler status: %s",
                 says ? says : "no reason is known");
        return -ENOEXEC;
    }
    if (found->abi != STATUS_HTTP_ABI) {
        snprintf(why, size, "%s is of another version of preforkd: upgrade the running daemon",
                 STATUS_HTTP_FILE);
        return -ENOEXEC;
    }
    http = found;
    return 0;
}

static int status_serve(struct service *service, struct conn *conn)
{
    const struct status_call call = {
        .fd = conn->fd,
        .peer = &conn->peer.sa,
        .peer_length = conn->peer.len,
        .idle = (unsigned)service->idle_timeout,
        .deadline = service->request_timeout ? clock_now() + service->request_timeout * USEC_SECOND
                                             : USEC_NEVER,
        .answer = answer_question,
        .owner = service,
    };
    conn->counted = false;
    int error = http->serve(&call);
    if (error == 0)
        conn_finish(conn);
    return error;
}

#else

static int status_load(char *why, size_t size)
{
    snprintf(why, size, "this preforkd was built without libmicrohttpd, and has no handler status");
    return -ENOSYS;
}

/* Never called: no worker survives status_load. */
static int status_serve(struct service *service, struct conn *conn)
{
    (void)service, (void)conn;
    return -ENOSYS;
}

#endif

const struct handler handler_status = {
    .section = {.name = "status",
                .rows = no_rows,
                .scopes = SCOPE_CONNECTIONS | SCOPE_CLIENT,
                .process_only = "a look at all pools would hold up the other connections",
                .defaults = defaults,
                .not_live = kept},
    .calls = CALLS_REPORT,
    .reads_board = true,
    .grace = 5 * USEC_SECOND,
    .load = status_load,
    .serve = status_serve,
};
