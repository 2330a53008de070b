/*
 * cgi_env - the environment of a CGI program (RFC 3875, 4.1): what the web server says, what the
 * pool says, which wins, and nothing else. Its memory is there once in a worker.
 */
#ifndef PREFORKD_HANDLERS_CGI_ENV_H
#define PREFORKD_HANDLERS_CGI_ENV_H

#include <stdbool.h>
#include <stddef.h>

enum {
    CGI_PARAMS_MAX = 256 * 1024, /* bytes of all parameters of a request */
    CGI_VARIABLES_MAX = 1000,
};

struct cgi_env {
    char *list[CGI_VARIABLES_MAX + 1]; /* ended by NULL */
    int count;
    int fixed;            /* of them, those that are the pool's */
    char made[20 * 1024]; /* the text of those that cgi_env_set made */
    size_t made_size;
};

/* Begins anew with the variables of the pool. */
void cgi_env_begin(struct cgi_env *env, char *const *pool);

/* Adds the parameters that a web server sent, a stream of name-value pairs, in their own memory,
 * which is rewritten. What no program should get is left out. False: it is no such stream. */
bool cgi_env_take(struct cgi_env *env, char *params, size_t size);

/* NULL if there is none. */
const char *cgi_env_get(const struct cgi_env *env, const char *name);

/* Sets "NAME=VALUE", unless the pool has. False: no room. */
bool cgi_env_set(struct cgi_env *env, const char *name, const char *value);
void cgi_env_unset(struct cgi_env *env, const char *name);

/* What the RFC wants to be there is there, and nothing is there empty that it wants unset. */
bool cgi_env_complete(struct cgi_env *env);

/* What CONTENT_LENGTH says; -1 if it says nothing that could be a length. */
long long cgi_env_length(const struct cgi_env *env);

#endif
