/*
 * status - the pools' state over HTTP: a page, JSON, metrics, health.
 *
 * What is told comes from shared memory alone, whatever the other pools do; how it is said over HTTP
 * is the business of status_http, a shared object that its workers alone load. Each connection gets
 * one answer and is closed, so that two workers serve many who look.
 */
#include "status_http.h"

#include "../reports/health.h"
#include "../reports/metrics.h"
#include "../reports/status.h"
#include "handler.h"
#include "http_accept.h"

#include "build-config.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Whoever asks is told what is so now. */
static const struct procstat *look_again(const struct service *service)
{
    figures.shown = service->shown_times;
    procstat_look(&figures, service->view, clock_now());
    return &figures;
}

/* --- the answers --------------------------------------------------------------------------- */

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

/* What ails the pools, as a text from malloc(), empty where nothing does. NULL: no memory. */
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

/* A pool counts as full after a second without a free seat. Where its connections are shorter than
 * that, one look can't tell: so it is looked until there is a free seat, or the second is over. */
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

/* --- which one ----------------------------------------------------------------------------- */

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
 * every server must take. False where it is none, or too long for any that there is. */
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

/* No path is made another by "." or "..", or by doubled slashes: what isn't named so, isn't there. */
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

/* --- the handler --------------------------------------------------------------------------- */

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
        snprintf(why, size, "%s is of another version of preforkd: upgrade the running one",
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
                .defaults = defaults,
                .kept = kept},
    .calls = CALLS_REPORT,
    .reads_board = true,
    .patience = 5 * USEC_SECOND,
    .load = status_load,
    .serve = status_serve,
};
