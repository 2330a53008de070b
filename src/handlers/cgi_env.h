/*
 * cgi_env - the environment of a CGI program (RFC 3875, 4.1): the web server's variables and the
 * pool's, which win, and nothing else. Its memory is static.
 */
#ifndef PREFORKD_HANDLERS_CGI_ENV_H
#define PREFORKD_HANDLERS_CGI_ENV_H

#include <stdbool.h>
#include <stddef.h>

enum {
    CGI_PARAMS_MAX = 256 * 1024, /* of all parameters of a request, in bytes */
    CGI_VARIABLES_MAX = 1000,
};

struct cgi_env {
    char *list[CGI_VARIABLES_MAX + 1]; /* ended by NULL */
    int count;
    int fixed;            /* the first so many, which are the pool's */
    char made[20 * 1024]; /* the variables that cgi_env_set made */
    size_t made_size;
};

/* Starts a new environment with the pool's variables. */
void cgi_env_begin(struct cgi_env *env, char *const *pool);

/* Adds the parameters that the web server sent, a stream of name-value pairs; rewrites them in
 * place. Leaves out what no program should get. False: the stream is malformed, or the list is
 * full. */
bool cgi_env_take(struct cgi_env *env, char *params, size_t size);

/* NULL: there is none. */
const char *cgi_env_get(const struct cgi_env *env, const char *name);

/* Sets a variable, unless the pool has set it. False: no room. */
bool cgi_env_set(struct cgi_env *env, const char *name, const char *value);
void cgi_env_unset(struct cgi_env *env, const char *name);

/* Adds the variables that the RFC requires, and removes empty ones that must not be set. False: no
 * room. */
bool cgi_env_complete(struct cgi_env *env);

/* The value of CONTENT_LENGTH; -1 if it is missing or no length. */
long long cgi_env_length(const struct cgi_env *env);

#endif
