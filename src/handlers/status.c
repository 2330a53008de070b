/*
 * status - the pools' state over HTTP: a page, JSON, metrics, health.
 *
 * The answers come from shared memory alone, whatever the other pools do; HTTP itself is the
 * business of status_http, a shared object that its workers alone load. Each connection gets one
 * answer and is closed, so that two workers serve many clients.
 */
#include "../reports/status.h"
#include "../reports/health.h"
#include "../reports/metrics.h"
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
    LOOK_MSEC = 50,   /* between two looks at a pool that may be full for a moment alone */
    TARGET_MAX = 256, /* no target that there is has nearly as much */
};

static const struct option_row no_rows[] = {OPTION_END};

static const struct option_default defaults[] = {
    {"idle_timeout", "5"}, {"request_timeout", "10"}, {NULL, NULL}};

/* What the worker keeps by itself, it has from its start. */
static const char *const kept[] = {"request_timeout", NULL};

#if HAVE_MICROHTTPD

static const struct status_http *http;
static struct procstat figures = {.processes = true};

/* An answer shows what is so now. */
static const struct procstat *look_again(const struct service *service)
{
    figures.shown = service->shown_times;
    procstat_look(&figures, service->view, clock_now());
    return &figures;
}

/* --- which form of the metrics: the header Accept (RFC 9110, 12.5.1) -------------------------- */

static const char *const accept_types[] = {
    [METRICS_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
    [METRICS_OPEN] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/* How closely a range of the header names what we have: where several match, the closest counts. */
enum closeness { NO_MATCH, ANYTHING, ANY_OF_KIND, TYPE, TYPE_AND_VERSION };

/* A piece of the header, without the white space around it. */
struct piece {
    const char *at;
    size_t length;
};

struct offer {
    const char *kind, *type, *version;
};

/* Takes the next piece off a text, up to a separator. */
static struct piece take(struct piece *from, char separator)
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

static bool is(struct piece piece, const char *word)
{
    return piece.length == strlen(word) && strncasecmp(piece.at, word, piece.length) == 0;
}

static struct piece unquoted(struct piece value)
{
    if (value.length >= 2 && value.at[0] == '"' && value.at[value.length - 1] == '"')
        return (struct piece){value.at + 1, value.length - 2};
    return value;
}

/* "0.75" as 750; what is no such number, as 0: then nothing is sent that might not be wanted. */
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
static enum closeness read_parameters(struct piece range, const struct offer *offer,
                                      enum closeness close, int *quality)
{
    *quality = 1000;
    while (range.length) {
        struct piece value = take(&range, ';'), name = take(&value, '=');
        if (is(name, "q"))
            *quality = read_quality(value);
        else if (is(name, "version"))
            close =
                close >= TYPE && is(unquoted(value), offer->version) ? TYPE_AND_VERSION : NO_MATCH;
    }
    return close;
}

static enum closeness read_range(struct piece range, const struct offer *offer, int *quality)
{
    struct piece type = take(&range, ';'), kind = take(&type, '/');
    enum closeness close = NO_MATCH;
    if (is(kind, offer->kind))
        close = is(type, offer->type) ? TYPE : is(type, "*") ? ANY_OF_KIND : NO_MATCH;
    else if (is(kind, "*") && is(type, "*"))
        close = ANYTHING;
    return read_parameters(range, offer, close, quality);
}

/* How much it is wanted, in thousandths, and by how close a range. */
static enum closeness weigh(const char *accept, const struct offer *offer, int *quality)
{
    struct piece header = {accept, strlen(accept)};
    enum closeness best = NO_MATCH;
    *quality = 0;
    while (header.length) {
        int wanted;
        enum closeness close = read_range(take(&header, ','), offer, &wanted);
        if (close < best || close == NO_MATCH || (close == best && wanted <= *quality))
            continue;
        best = close;
        *quality = wanted;
    }
    return best;
}

/* OpenMetrics if it is asked for by its name, and nothing else is preferred to it. `accept` may be
 * NULL, or whatever a client writes. */
static enum metrics_format accept_metrics(const char *accept)
{
    static const struct offer text = {"text", "plain", "0.0.4"};
    static const struct offer open = {"application", "openmetrics-text", "1.0.0"};
    int text_wanted, open_wanted;
    if (!accept)
        return METRICS_TEXT;
    weigh(accept, &text, &text_wanted);
    bool named = weigh(accept, &open, &open_wanted) >= TYPE;
    return named && open_wanted > 0 && open_wanted >= text_wanted ? METRICS_OPEN : METRICS_TEXT;
}

/* --- the answers ------------------------------------------------------------------------------ */

static void give_text(struct status_answer *answer, int code, char *text)
{
    answer->code = code;
    answer->type = "text/plain; charset=utf-8";
    answer->body = text;
    answer->size = text ? strlen(text) : 0;
}

/* A sentence and a newline; without memory for it the code alone. */
static void give_word(struct status_answer *answer, int code, const char *word)
{
    char *text = NULL;
    if (asprintf(&text, "%s\n", word) < 0)
        text = NULL;
    give_text(answer, code, text);
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
    char *text = status_json(service->view, look_again(service), STATUS_WHOLE, clock_now());
    if (!text) {
        give_word(answer, HAVE_JANSSON ? 503 : 501,
                  HAVE_JANSSON ? "out of memory" : "this preforkd was built without jansson");
        return;
    }
    give_text(answer, 200, text);
    answer->type = "application/json";
}

static void answer_metrics(const struct service *service, const struct status_question *question,
                           struct status_answer *answer)
{
    enum metrics_format format = accept_metrics(question->accept);
    char *text = metrics_text(service->view, look_again(service), clock_now(), format);
    if (!text) {
        give_word(answer, 503, "out of memory");
        return;
    }
    give_text(answer, 200, text);
    answer->type = accept_types[format];
    answer->varies = "Accept";
}

/* A line for each pool that something ails. Whether it may be another thing in a moment. */
static bool tell_ailments(FILE *out, const struct snapshot *snapshot, struct health *health,
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

/* What ails the pools, as a text from malloc(), empty if nothing does. NULL: no memory. */
static char *look(const struct service *service, struct health *health, bool *unsure)
{
    static struct procstat queues; /* processes are none of its business */
    struct text text;
    procstat_look(&queues, service->view, clock_now());
    struct snapshot *snapshot = snapshot_take(service->view, &queues);
    if (!snapshot || !text_open(&text)) {
        free(snapshot);
        return NULL;
    }
    *unsure = tell_ailments(text.out, snapshot, health, clock_now());
    free(snapshot);
    return text_close(&text, true);
}

/* A pool counts as full after a second without a free seat. If its connections are shorter than
 * that, one look can't tell: so it is looked at until there is a free seat, or the second is over.
 * */
static void answer_health(const struct service *service, const struct status_question *question,
                          struct status_answer *answer)
{
    static struct health health;
    bool unsure = false;
    (void)question;
    health = (struct health){0};
    char *text = look(service, &health, &unsure);
    while (text && !text[0] && unsure) {
        free(text);
        poll(NULL, 0, LOOK_MSEC);
        text = look(service, &health, &unsure);
    }
    if (text && text[0]) {
        give_text(answer, 503, text);
        return;
    }
    give_word(answer, text ? 200 : 503, text ? "ok" : "out of memory");
    free(text);
}

/* --- which one -------------------------------------------------------------------------------- */

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

/* The path of a target, decoded: "/metrics" of "http://host/metrics" too (RFC 9112, 3.2.2), which
 * every server must take. False if it is none, or too long for any that there is. */
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

/* No path is made another by "." or "..", or by doubled slashes: what isn't named so, isn't there.
 * */
static void answer_question(void *owner, const struct status_question *question,
                            struct status_answer *answer)
{
    char path[TARGET_MAX];
    bool reads = strcmp(question->method, "GET") == 0 || strcmp(question->method, "HEAD") == 0;
    if (!read_path(question->target, path)) {
        give_word(answer, 400, "this is no path");
        return;
    }
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (strcmp(path, paths[i].path) != 0)
            continue;
        if (reads) {
            paths[i].answer(owner, question, answer);
        } else {
            give_word(answer, 405, "only GET and HEAD are answered");
            answer->allow = "GET, HEAD";
        }
        return;
    }
    give_word(answer, 404, "there are /, /status.json, /metrics and /healthz");
}

/* --- the handler ------------------------------------------------------------------------------ */

/* By its name alone: the program's own run path leads there, wherever it was built or installed. */
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

/* Which no worker lives to see. */
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
