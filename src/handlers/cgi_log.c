#include "cgi_log.h"

#include "../base/daemon.h"
#include "../base/log.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* A failure is told, but not as often as a client can cause it. */
static bool may_tell(int level, const struct service *service, unsigned *missed)
{
    enum { MOST = 20 }; /* lines of a level, a second */
    static struct {
        usec until;
        unsigned told, missed;
    } budgets[LOG_DEBUG + 1];
    *missed = 0;
    if (level < 0 || level == service->log_level)
        return level >= 0;
    if (!log_wanted(level))
        return false;
    usec now = clock_now();
    if (now >= budgets[level].until) {
        budgets[level].until = now + USEC_SECOND;
        budgets[level].told = 0;
    }
    if (budgets[level].told == MOST) {
        budgets[level].missed++;
        return false;
    }
    budgets[level].told++;
    *missed = budgets[level].missed;
    budgets[level].missed = 0;
    return true;
}

static const char *client(const struct cgi_env *env)
{
    const char *address = cgi_env_get(env, "REMOTE_ADDR");
    return address ? address : "";
}

void cgi_log_refusal(const struct cgi_session *session, const struct cgi_env *env, const char *path,
                     const char *fault, int status, int error)
{
    unsigned missed;
    const char *pool = session->service->pool;
    int level = status == 503 ? LOG_WARNING : status >= 500 ? LOG_NOTICE : LOG_INFO;
    if (!may_tell(level, session->service, &missed))
        return;
    log_event(level,
              "pool %s: the program %s %s%s%s; answered with %d pool=%s script=\"%s\" client=%s "
              "status=%d missed=%u",
              pool, path, fault, error ? ": " : "", error ? strerror(error) : "", status, pool,
              path, client(env), status, missed);
}

static int level_of(const struct cgi_relay *relay)
{
    switch (relay->outcome) {
    case CGI_DONE: return relay->status == 0 ? relay->session->service->log_level : LOG_NOTICE;
    case CGI_TIMED_OUT: return LOG_WARNING;
    case CGI_ABORTED: return LOG_INFO;
    default: return LOG_NOTICE;
    }
}

static const char *sentence_of(const struct cgi_relay *relay)
{
    switch (relay->outcome) {
    case CGI_DONE: return relay->status == 0 ? "ended" : "answered, and ended badly";
    case CGI_CUT: return "was killed in the middle of its answer, which was cut off";
    case CGI_TIMED_OUT: return "took longer than request_timeout, and was ended";
    case CGI_ABORTED: return "was ended, since the client went away";
    default: return relay->fault;
    }
}

static double cpu_seconds(const struct rusage *usage)
{
    const struct timeval *user = &usage->ru_utime, *system = &usage->ru_stime;
    return (double)(user->tv_sec + system->tv_sec) +
           (double)(user->tv_usec + system->tv_usec) / USEC_SECOND;
}

static void tell_nph(const struct cgi_relay *relay, const char *path)
{
    static bool told;
    if (relay->nph && !told)
        log_info("pool %s: the program %s answers with HTTP itself (NPH); it is translated "
                 "pool=%s script=\"%s\"",
                 relay->session->service->pool, path, relay->session->service->pool, path);
    told = told || relay->nph;
}

void cgi_log_end(const struct cgi_relay *relay, const struct cgi_env *env, const char *path)
{
    unsigned missed;
    char how[64];
    const struct cgi_session *session = relay->session;
    const char *pool = session->service->pool;
    int level = level_of(relay);
    tell_nph(relay, path);
    if (!may_tell(level, session->service, &missed))
        return;
    double seconds = clock_seconds(clock_now() - session->request.since);
    if (WIFSIGNALED(relay->status))
        snprintf(how, sizeof how, "signal=%s", daemon_signal_word(WTERMSIG(relay->status)));
    else
        snprintf(how, sizeof how, "exit=%d", WEXITSTATUS(relay->status));
    log_event(level,
              "pool %s: the program %s %s, after %.3f s pool=%s script=\"%s\" client=%s "
              "duration=%.3f cpu=%.3f in=%llu out=%llu %s missed=%u",
              pool, path, sentence_of(relay), seconds, pool, path, client(env), seconds,
              cpu_seconds(&relay->usage),
              (unsigned long long)(session->conn->in - session->in_before),
              (unsigned long long)(session->conn->out - session->out_before), how, missed);
}
