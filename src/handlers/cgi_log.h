/*
 * cgi_log - what the log is told of requests and their programs: of the good ones where connections are
 * logged, of the others always, as far as a client can't fill the disk with it.
 *
 * Called by: cgi.
 * Runs in:   a worker.
 */
#ifndef PREFORKD_HANDLERS_CGI_LOG_H
#define PREFORKD_HANDLERS_CGI_LOG_H

#include "cgi_relay.h"

/* A request that no program was started for. `fault` is a sentence about the one of this path. */
void cgi_log_refusal(const struct cgi_session *session, const struct cgi_env *env, const char *path,
                     const char *fault, int status, int error);

/* A program that has ended. */
void cgi_log_end(const struct cgi_relay *relay, const struct cgi_env *env, const char *path);

#endif
