/*
 * cgi - a FastCGI responder that runs a CGI/1.1 program for each request that a web server sends.
 *
 * cgi_session splits the web server's records, and waits for it; cgi_script finds the program;
 * cgi_env makes its environment; cgi_relay runs it. This file puts them together, and writes the
 * log.
 */
#include "../base/daemon.h"
#include "../base/log.h"
#include "../base/text.h"
#include "cgi_answer.h"
#include "cgi_relay.h"
#include "cgi_script.h"
#include "cgi_session.h"
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const stderr_choices[] = {"log", "server", NULL};

static const struct option_row rows[] = {
    OPTION_ROW(cgi_config, root, "root", TEXT, .min = 1, .max = PATH_MAX - 1),
    OPTION_ROW(cgi_config, program, "program", TEXT, .min = 1, .max = PATH_MAX - 1),
    OPTION_ROW(cgi_config, suffixes, "suffixes", WORDS, .min = 1, .max = 100),
    OPTION_ROW(cgi_config, interpreter, "interpreter", WORDS, .min = 1, .max = 100),
    OPTION_ROW(cgi_config, template, "template", WORDS, .min = 1, .max = TEMPLATES_MOST),
    OPTION_ROW(cgi_config, template_max_forks, "template_max_forks", NUMBER, .min = 0,
               .max = TEMPLATE_FORKS_MOST, .fallback = "0"),
    OPTION_ROW(cgi_config, stderr_choice, "stderr", CHOICE, .choices = stderr_choices,
               .fallback = "log"),
    OPTION_END,
};

static const struct option_default defaults[] = {
    {"request_timeout", "60"}, {"no_new_privs", "false"}, {NULL, NULL}};

/* The worker enforces these options itself, as they were at its start. */
static const char *const kept[] = {"request_timeout", NULL};

/* Static, because a worker serves one request at a time. */
static struct cgi_env env;
static struct cgi_script script;
static unsigned char spool[2 * CGI_INPUT];         /* see spool_body */
static struct template *templates[TEMPLATES_MOST]; /* in the order of the configuration */

/* --- the check -------------------------------------------------------------------------------- */

static void check_root(const struct handler_check *check, const char *root)
{
    struct stat found;
    if (root[0] != '/')
        HANDLER_FAULT(check, "root", "root is an absolute path, not \"%s\"", root);
    else if (stat(root, &found) != 0)
        HANDLER_FAULT(check, "root", "root %s: %s", root, strerror(errno));
    else if (!S_ISDIR(found.st_mode))
        HANDLER_FAULT(check, "root", "root %s is not a directory", root);
    else if (faccessat(AT_FDCWD, root, X_OK, AT_EACCESS) != 0)
        HANDLER_FAULT(check, "root", "the pool's user can't enter root %s: %s", root,
                      strerror(errno));
}

static void check_suffixes(const struct handler_check *check, const struct words *words)
{
    for (int i = 0; i < words->count; i++)
        if (!words->at[i][0])
            HANDLER_FAULT(check, "suffixes", "suffixes has an empty one, which every name ends in");
}

/* Notes a word of SUFFIX=... that is never used: the first whose suffix fits counts. */
static void check_order(const struct handler_check *check, const char *option,
                        const struct words *words, int i)
{
    char *suffix = strndupa(words->at[i], strcspn(words->at[i], "="));
    for (int first = 0; first < i; first++)
        if (cgi_script_interpreter(words->at[first], suffix))
            HANDLER_FAULT(check, option, "%s \"%s\" is never used, because \"%s\" before it fits",
                          option, words->at[i], words->at[first]);
}

static void check_interpreters(const struct handler_check *check, const struct words *words)
{
    for (int i = 0; i < words->count; i++) {
        const char *equals = strchr(words->at[i], '=');
        check_order(check, "interpreter", words, i);
        if (!equals || equals == words->at[i])
            HANDLER_FAULT(check, "interpreter", "interpreter takes SUFFIX=PROGRAM, not \"%s\"",
                          words->at[i]);
        else
            program_check(check, "interpreter", equals + 1);
    }
}

static void check_templates(const struct handler_check *check, const struct words *words)
{
    for (int i = 0; i < words->count; i++) {
        const char *equals = strchr(words->at[i], '=');
        check_order(check, "template", words, i);
        char *const *arguments = equals ? template_split(equals + 1) : NULL;
        if (!arguments || !arguments[0] || equals == words->at[i])
            HANDLER_FAULT(check, "template", "template takes SUFFIX=PROGRAM MODULE ..., not \"%s\"",
                          words->at[i]);
        else
            template_check(check, arguments);
    }
}

/* With a single program, the options that choose among programs make no sense. */
static void check_program(const struct handler_check *check, const char *program)
{
    static const char *const others[] = {"root", "suffixes", "interpreter", NULL};
    for (const char *const *other = others; *other; other++)
        if (option_is_set(rows, check->origin, *other))
            HANDLER_FAULT(check, *other, "with a program it takes no %s", *other);
    program_check(check, "program", program);
}

static void cgi_check(const struct handler_check *check)
{
    const struct cgi_config *config = check->config;
    check_suffixes(check, &config->suffixes);
    check_interpreters(check, &config->interpreter);
    if (config->template.count == 0 && config->template_max_forks)
        HANDLER_FAULT(check, "template_max_forks", "template_max_forks needs a template");
    check_templates(check, &config->template);
    if (config->program)
        check_program(check, config->program);
    else if (config->root)
        check_root(check, config->root);
    else
        HANDLER_FAULT(check, "",
                      "it needs root, the directory of the programs, or program, a single one");
}

/* --- the log ---------------------------------------------------------------------------------- */

/* Failures are logged at a limited rate, because a client can cause them. */
static bool may_log(int level, const struct service *service, unsigned *missed)
{
    enum { MOST = 20 }; /* lines of a level per second */
    static struct {
        usec until;
        unsigned logged, missed;
    } budgets[LOG_DEBUG + 1];
    *missed = 0;
    if (level < 0 || level == service->log_level)
        return level >= 0;
    if (!log_wanted(level))
        return false;
    usec now = clock_now();
    if (now >= budgets[level].until) {
        budgets[level].until = now + USEC_SECOND;
        budgets[level].logged = 0;
    }
    if (budgets[level].logged == MOST) {
        budgets[level].missed++;
        return false;
    }
    budgets[level].logged++;
    *missed = budgets[level].missed;
    budgets[level].missed = 0;
    return true;
}

/* Whom the request is about, for the log. The web server and its clients chose these texts. A long
 * path is cut once it is escaped: a line has it twice, before the client's address, and must have
 * room for that. */
enum { PATH_SHOWN = 200 };
struct subject {
    char path[PATH_SHOWN + sizeof "..."], client[ADDR_TEXT];
};

static struct subject subject_of_request(void)
{
    struct subject subject;
    char path[PATH_SHOWN + 1]; /* if log_value cuts it, it is too long for text_escape, too */
    const char *address = cgi_env_get(&env, "REMOTE_ADDR");
    address = address ? address : "";
    size_t length = strlen(log_value(path, sizeof path, script.path));
    if (text_escape(subject.path, PATH_SHOWN, path, length) < length)
        strcat(subject.path, "...");
    /* no address has a space or a quote */
    snprintf(subject.client, sizeof subject.client, "%.*s", (int)strcspn(address, " \""), address);
    return subject;
}

/* Logs a request for which no program was started. `fault` is a sentence about the program. It may
 * have a long path, too: with ./ in it, that of a link. */
static void log_refusal(const struct cgi_session *session, const char *fault, int status, int error)
{
    unsigned missed;
    const char *pool = session->service->pool;
    int level = status == 503 ? LOG_WARNING : status >= 500 ? LOG_NOTICE : LOG_INFO;
    if (!may_log(level, session->service, &missed))
        return;
    const struct subject of = subject_of_request();
    log_event(level,
              "pool %s: the program %s %.600s%s%s; answered with %d pool=%s script=\"%s\" "
              "client=%s status=%d missed=%u",
              pool, of.path, fault, error ? ": " : "", error ? strerror(error) : "", status, pool,
              of.path, of.client, status, missed);
}

/* The outcome as a sentence about the program, and the level at which to log it. */
static const char *outcome_of(const struct cgi_relay *relay, int *level)
{
    bool well = relay->status == 0;
    *level = LOG_NOTICE;
    switch (relay->outcome) {
    case CGI_DONE:
        *level = well ? relay->session->service->log_level : LOG_NOTICE;
        return well ? "ended" : "answered, and ended badly";
    case CGI_CUT: return "was killed in the middle of its answer, which was cut off";
    case CGI_TIMED_OUT:
        *level = LOG_WARNING;
        return "took longer than request_timeout, and was ended";
    case CGI_ABORTED: *level = LOG_INFO; return "was ended, since the client went away";
    default: return relay->fault;
    }
}

/* Logs once that a program sends its own HTTP header. */
static void log_nph(const struct cgi_relay *relay)
{
    static bool logged;
    const char *pool = relay->session->service->pool;
    if (!relay->nph || logged)
        return;
    logged = true;
    const struct subject of = subject_of_request();
    log_info("pool %s: the program %s sends its own HTTP header (NPH); it is translated "
             "pool=%s script=\"%s\"",
             pool, of.path, pool, of.path);
}

/* Logs a program's run. */
static void log_end(const struct cgi_relay *relay)
{
    unsigned missed;
    char how[64];
    const struct cgi_session *session = relay->session;
    const char *pool = session->service->pool;
    const struct timeval *user = &relay->usage.ru_utime, *system = &relay->usage.ru_stime;
    int level;
    const char *outcome = outcome_of(relay, &level);
    log_nph(relay);
    if (!may_log(level, session->service, &missed))
        return;
    const struct subject of = subject_of_request();
    double seconds = clock_seconds(clock_now() - session->request.since);
    if (WIFSIGNALED(relay->status))
        snprintf(how, sizeof how, "signal=%s", daemon_signal_word(WTERMSIG(relay->status)));
    else
        snprintf(how, sizeof how, "exit=%d", WEXITSTATUS(relay->status));
    log_event(level,
              "pool %s: the program %s %s, after %.3f s pool=%s script=\"%s\" client=%s "
              "duration=%.3f cpu=%.3f in=%llu out=%llu %s missed=%u",
              pool, of.path, outcome, seconds, pool, of.path, of.client, seconds,
              (double)(user->tv_sec + system->tv_sec) +
                  (double)(user->tv_usec + system->tv_usec) / USEC_SECOND,
              (unsigned long long)(session->conn->in - session->in_before),
              (unsigned long long)(session->conn->out - session->out_before), how, missed);
}

/* --- the web server's request ----------------------------------------------------------------- */

/* Waits for the parameters of a request. 0, or -errno: no request came. A connection's `first`
 * request counts as begun. */
static int await_request(struct cgi_session *session, bool first)
{
    struct cgi_body body;
    bool resting = !first;
    for (;;) {
        int error = 0;
        enum cgi_event event = cgi_session_take(session, &body);
        resting = resting && !session->request.id;
        switch (event) {
        case CGI_EVENT_PARAMS: return 0;
        case CGI_EVENT_NONE: error = cgi_session_read_more(session, resting); break;
        case CGI_EVENT_FULL: error = cgi_session_flush(session); break;
        case CGI_EVENT_ABORT:
            cgi_session_put_end(session, 0);
            session->request.id = 0;
            /* fall through */
        case CGI_EVENT_REFUSED:
            resting = session->request.keep && !cgi_session_keeps_others(session);
            error = cgi_session_flush(session);
            if (error == 0 && !resting) {
                cgi_session_finish(session);
                error = -ENODATA;
            }
            break;
        default: return -EPROTO;
        }
        if (error)
            return error;
    }
}

/* The body has no CONTENT_LENGTH: reads it into `spool`, as far as it fits, to find its length. 0
 * or -errno. */
static int spool_body(struct cgi_session *session, struct cgi_body *spooled)
{
    struct cgi_body body;
    *spooled = (struct cgi_body){spool, 0};
    while (!session->request.stdin_ended) {
        int error = 0;
        switch (cgi_session_take(session, &body)) {
        case CGI_EVENT_BODY:
            memcpy(spool + spooled->size, body.data, body.size);
            spooled->size += body.size;
            break;
        case CGI_EVENT_NONE:
            if (spooled->size > CGI_INPUT) /* the next read may not fit */
                return 0;
            error = cgi_session_read_more(session, false);
            break;
        case CGI_EVENT_FULL: error = cgi_session_flush(session); break;
        case CGI_EVENT_END: break;
        case CGI_EVENT_ABORT: return -ECANCELED;
        default: return -ECONNABORTED;
        }
        if (error)
            return error;
    }
    return 0;
}

/* --- a request -------------------------------------------------------------------------------- */

/* Puts an answer of our own. */
static void put_answer(struct cgi_session *session, int status)
{
    cgi_answer_put_status(session, status);
    cgi_session_put(session, FCGI_STDOUT, 0);
    cgi_session_put_end(session, (uint32_t)status);
}

/* Answers with a status, and logs why. 0 or -errno. */
static int refuse(struct cgi_session *session, const char *fault, int status, int error)
{
    log_refusal(session, fault, status, error);
    put_answer(session, status);
    return cgi_session_flush(session);
}

/* The HTTP status for an errno of execve(2) or clone(2). */
static int http_status(int error)
{
    switch (error) {
    case EACCES:
    case EPERM: return 403;
    case EAGAIN:
    case ENOMEM:
    case EMFILE:
    case ENFILE: return 503;
    default: return 500;
    }
}

static bool variable_begins(const char *variable, const char *with)
{
    const char *value = cgi_env_get(&env, variable);
    return value && strncmp(value, with, strlen(with)) == 0;
}

/* False: the parameters are too many. */
static bool prepare_environment(struct cgi_session *session)
{
    size_t size = session->request.params_size;
    script.path[0] = '\0';
    cgi_env_begin(&env, session->service->environment);
    bool fits = size <= CGI_PARAMS_MAX && cgi_env_take(&env, cgi_session_params(), size) &&
                cgi_env_complete(&env);
    session->request.head_only = variable_begins("REQUEST_METHOD", "HEAD");
    return fits;
}

/* Finds out what can be known of the body before the program starts. 0 or -errno; -ECANCELED: the
 * web server gave the request up. */
static int prepare_body(struct cgi_relay *relay)
{
    char length[32];
    relay->body_most = cgi_env_length(&env);
    relay->has_body = relay->body_most > 0;
    if (relay->body_most >= 0)
        return 0;
    int error = spool_body(relay->session, &relay->body);
    relay->has_body = relay->body.size > 0;
    if (error || !relay->has_body || !relay->session->request.stdin_ended)
        return error;
    relay->body_most = (long long)relay->body.size;
    snprintf(length, sizeof length, "%zu", relay->body.size);
    return cgi_env_set(&env, "CONTENT_LENGTH", length) ? 0 : -E2BIG;
}

/* The body could not be read. Returns as serve_request does. */
static int refuse_body(struct cgi_session *session, int error)
{
    if (error == -ECANCELED) {
        cgi_session_put_end(session, 0);
        return cgi_session_flush(session);
    }
    if (error != -ETIMEDOUT || clock_now() < cgi_session_deadline(session))
        return error;
    error =
        refuse(session, "was not started, since its body took longer than request_timeout", 504, 0);
    return error ? error : -ENODATA;
}

/* If the file exists, it was its interpreter that was not found. */
static int refuse_start(struct cgi_session *session, int error)
{
    bool missing = error == ENOENT || error == ENOTDIR;
    if (error == E2BIG)
        return refuse(session, "has too large an environment", 431, 0);
    if (missing && access(script.path, F_OK) != 0)
        return refuse(session, "is not there", 404, error);
    if (missing)
        return refuse(session, "can't be started: what should run it is not there", 500, error);
    if (error == ENOEXEC && script.template >= 0)
        return refuse(session, "can't be started without its template", 503, error);
    return refuse(session, "can't be started", http_status(error), error);
}

static int run(struct cgi_relay *relay, struct service *service)
{
    const char *arguments[] = {script.path, NULL, NULL};
    struct launch launch = {
        .path = script.name,
        .program = script.program,
        .arguments = (char *const *)arguments,
        .environment = env.list,
        .directory = script.directory,
        .group = service->program,
        .shown = service->shown,
    };
    char *const own_arguments[] = {(char *)script.name, NULL};
    const struct cgi_fork fork = {
        .template = script.template >= 0 ? templates[script.template] : NULL,
        .service = service,
        .script = script.source,
        .arguments = own_arguments,
    };
    if (script.interpreter) {
        launch.path = arguments[0] = script.interpreter;
        launch.program = 0;
        arguments[1] = script.name;
    }
    /* A template runs no program that could not be started without it. */
    bool forks =
        fork.template && template_may_run(fork.script, /* executable: */ !script.interpreter);
    return cgi_relay_run(relay, &launch, forks ? &fork : NULL);
}

/* A script that can't be started is the script's own fault, and too many parameters are the web
 * server's. The pool is degraded only if one program serves all requests, or if no process can be
 * had. */
static void note_failed_start(struct service *service, int error)
{
    const struct cgi_config *config = service->config;
    if (error == E2BIG || (!config->program && error != EAGAIN && error != ENOMEM))
        return;
    *service->start_error = (uint32_t)error;
    *service->failed_starts = *service->failed_starts + 1;
}

/* Serves the request in hand. 0: the connection can take another; -ENODATA: close it;
 * -ECONNABORTED: nothing more can be written to it, which was logged; or another -errno. */
static int serve_request(struct cgi_session *session)
{
    const struct cgi_config *config = session->service->config;
    struct cgi_relay relay = {
        .session = session,
        .errors_to_server = config->stderr_choice == CGI_STDERR_SERVER,
        .deadline = cgi_session_deadline(session),
    };
    if (!prepare_environment(session)) {
        int error = refuse(session, "was not looked for: too many parameters", 431, 0);
        return error ? error : -ENODATA;
    }
    int status = cgi_script_open(&script, config, &env);
    if (status && status != 431 && config->program)
        note_failed_start(session->service, script.error ? script.error : ENOENT);
    if (status)
        return refuse(session, script.fault, status, script.error);
    /* nginx and angie send no more of the body once the answer has begun; Caddy reads no answer
     * before it has sent the body. */
    relay.body_first = variable_begins("SERVER_SOFTWARE", "nginx") ||
                       variable_begins("SERVER_SOFTWARE", "angie") ||
                       variable_begins("SERVER_SOFTWARE", "Caddy");
    int error = prepare_body(&relay);
    int started = error ? error : run(&relay, session->service);
    cgi_script_close(&script);
    if (error && error != -E2BIG)
        return refuse_body(session, error);
    if (started < 0) {
        note_failed_start(session->service, -started);
        return refuse_start(session, -started);
    }
    program_end_line(); /* with errors_to_server, of what came too late for it */
    log_end(&relay);
    if (relay.lost)
        return -ECONNABORTED;
    return relay.keep ? 0 : -ENODATA;
}

static int cgi_start(struct service *service, char *why, size_t size)
{
    const struct cgi_config *config = service->config;
    for (int i = 0; i < config->template.count; i++) {
        const char *equals = strchr(config->template.at[i], '=');
        char *const *arguments = equals ? template_split(equals + 1) : NULL;
        if (!arguments) {
            snprintf(why, size, "out of memory");
            return -ENOMEM;
        }
        templates[i] = template_new(service, i, arguments, config->template_max_forks, why, size);
        if (!templates[i])
            return -EPROTO;
    }
    return 0;
}

static void cgi_stop(struct service *service)
{
    (void)service;
    for (int i = 0; i < TEMPLATES_MOST; i++)
        template_free(templates[i]);
}

static int cgi_serve(struct service *service, struct conn *conn)
{
    struct cgi_session session;
    bool first = true, keep = true;
    cgi_session_begin(&session, service, conn);
    while (keep) {
        session.in_before = conn->in;
        session.out_before = conn->out;
        int error = await_request(&session, first);
        if (error)
            return error == -ENODATA || error == -ECANCELED ? 0 : error;
        error = serve_request(&session);
        service->count_request(service, session.request.since);
        if (error && error != -ENODATA)
            return error == -ECONNABORTED ? 0 : error;
        keep = error == 0 && session.request.keep && !cgi_session_keeps_others(&session);
        if (!keep)
            cgi_session_finish(&session);
        session.request.id = 0;
        first = false;
    }
    return 0;
}

/* --- overload --------------------------------------------------------------------------------- */

/* Reads what has already arrived of a request, and no more: unread input would make the kernel
 * discard the answer. 0 if that was the whole request, or -errno. */
static int take_request(struct cgi_session *session)
{
    enum { MOST = 4 * CGI_INPUT }; /* more than a socket holds that nobody read from */
    struct cgi_body body;
    while (session->conn->in <= MOST) {
        int error = 0;
        switch (cgi_session_take(session, &body)) {
        case CGI_EVENT_NONE:
            error = session->in_ended ? -ENODATA : cgi_session_read(session);
            break;
        case CGI_EVENT_FULL: error = cgi_session_write(session); break;
        case CGI_EVENT_PARAMS:
        case CGI_EVENT_BODY: break;
        case CGI_EVENT_END: return 0;
        default: return -EPROTO;
        }
        if (error)
            return error;
    }
    return -E2BIG;
}

/* Does not wait: the request was sent long ago, and the answer fits into a socket that nothing was
 * written to. If more of the request is still on its way, closing now could discard the answer, so
 * the connection is finished in order. */
static void cgi_refuse(struct service *service, struct conn *conn)
{
    struct cgi_session session;
    cgi_session_begin(&session, service, conn);
    int error = take_request(&session);
    if (error == -EPROTO || !session.request.id || cgi_session_write(&session) != 0)
        return;
    prepare_environment(&session);
    put_answer(&session, 503);
    if (cgi_session_write(&session) == 0 && error)
        conn_finish(conn);
}

const struct handler handler_cgi = {
    .section = {.name = "cgi",
                .rows = rows,
                .size = sizeof(struct cgi_config),
                .scopes = SCOPE_CONNECTIONS | SCOPE_CLIENT,
                .process_only = "a worker waits for the one program that it runs",
                .defaults = defaults,
                .not_live = kept},
    .counts_requests = true,
    .runs_programs = true,
    .grace = 10 * USEC_SECOND,
    .check = cgi_check,
    .start = cgi_start,
    .serve = cgi_serve,
    .refuse = cgi_refuse,
    .stop = cgi_stop,
};
