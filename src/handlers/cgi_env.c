#include "cgi_env.h"

#include "../wire/fcgi.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static size_t name_size(const char *variable)
{
    return strcspn(variable, "=");
}

/* The index of the variable of this name; -1: none. */
static int find(const struct cgi_env *env, const char *name, size_t size)
{
    for (int i = 0; i < env->count; i++)
        if (strncmp(env->list[i], name, size) == 0 && env->list[i][size] == '=')
            return i;
    return -1;
}

/* Replaces a variable of the same name, unless it is the pool's. False: the list is full. */
static bool put(struct cgi_env *env, char *variable)
{
    int at = find(env, variable, name_size(variable));
    if (at >= 0 && at < env->fixed)
        return true;
    if (at < 0 && env->count == CGI_VARIABLES_MAX)
        return false;
    if (at < 0)
        at = env->count++;
    env->list[at] = variable;
    env->list[env->count] = NULL;
    return true;
}

void cgi_env_begin(struct cgi_env *env, char *const *pool)
{
    env->count = 0;
    env->made_size = 0;
    while (pool[env->count] && env->count < CGI_VARIABLES_MAX) {
        env->list[env->count] = pool[env->count];
        env->count++;
    }
    env->fixed = env->count;
    env->list[env->count] = NULL;
}

/* --- the web server's parameters -------------------------------------------------------------- */

/* Variables that change how a program is loaded or found, or what it runs first; that would lead it
 * to our sockets; or that a client can make look like a proxy's configuration (httpoxy). A client's
 * headers only become variables that begin with HTTP_; the others are here to make a careless
 * configuration of the web server harmless. A star stands for any rest. */
static const char *const refused[] = {
    "HTTP_PROXY",
    "HTTP_CONTENT_LENGTH",
    "HTTP_CONTENT_TYPE",
    "LD_*",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "MALLOC_*",
    "LOCPATH",
    "NLSPATH",
    "PATH",
    "IFS",
    "ENV",
    "BASH_ENV",
    "BASH_FUNC_*",
    "BASHOPTS",
    "SHELLOPTS",
    "PS4",
    "PYTHON*",
    "PERL5*",
    "PERLLIB",
    "RUBYOPT",
    "RUBYLIB",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NOTIFY_SOCKET",
    "LISTEN_*",
    "WATCHDOG_*",
};

static bool is_refused(const char *name, size_t size)
{
    for (unsigned i = 0; i < sizeof refused / sizeof *refused; i++) {
        size_t length = strlen(refused[i]);
        bool any_rest = refused[i][length - 1] == '*';
        if (any_rest ? size >= length - 1 && memcmp(name, refused[i], length - 1) == 0
                     : size == length && memcmp(name, refused[i], length) == 0)
            return true;
    }
    return false;
}

static bool is_name(const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)name[i]) && name[i] != '_')
            return false;
    return size > 0 && !isdigit((unsigned char)name[0]);
}

/* Written over the pair itself: "NAME=VALUE" with its NUL is never longer than the pair with its
 * two lengths. */
static char *write_variable(char *to, const struct fcgi_pair *pair)
{
    memmove(to, pair->name, pair->name_size);
    to[pair->name_size] = '=';
    memmove(to + pair->name_size + 1, pair->value, pair->value_size);
    to[pair->name_size + 1 + pair->value_size] = '\0';
    return to;
}

bool cgi_env_take(struct cgi_env *env, char *params, size_t size)
{
    struct fcgi_pair pair;
    struct fcgi_bytes bytes = {(unsigned char *)params, (unsigned char *)params + size};
    for (;;) {
        char *at = params + (bytes.at - (unsigned char *)params);
        enum fcgi_pair_found found = fcgi_next_pair(&bytes, &pair);
        if (found != FCGI_PAIR)
            return found == FCGI_NO_PAIR;
        const char *name = (const char *)pair.name;
        if (!is_name(name, pair.name_size) || is_refused(name, pair.name_size) ||
            memchr(pair.value, '\0', pair.value_size))
            continue;
        if (!put(env, write_variable(at, &pair)))
            return false;
    }
}

/* --- single variables ------------------------------------------------------------------------- */

const char *cgi_env_get(const struct cgi_env *env, const char *name)
{
    size_t size = strlen(name);
    int at = find(env, name, size);
    return at < 0 ? NULL : env->list[at] + size + 1;
}

bool cgi_env_set(struct cgi_env *env, const char *name, const char *value)
{
    size_t name_length = strlen(name), value_length = strlen(value);
    size_t room = sizeof env->made - env->made_size;
    char *variable = env->made + env->made_size;
    if (name_length + value_length + 2 > room)
        return false;
    memcpy(variable, name, name_length);
    variable[name_length] = '=';
    memcpy(variable + name_length + 1, value, value_length + 1);
    env->made_size += name_length + value_length + 2;
    return put(env, variable);
}

void cgi_env_unset(struct cgi_env *env, const char *name)
{
    int at = find(env, name, strlen(name));
    if (at < env->fixed)
        return;
    env->list[at] = env->list[--env->count];
    env->list[env->count] = NULL;
}

static bool is_empty(const struct cgi_env *env, const char *name)
{
    const char *value = cgi_env_get(env, name);
    return !value || !*value;
}

bool cgi_env_complete(struct cgi_env *env)
{
    static const char *const required[][2] = {
        {"GATEWAY_INTERFACE", "CGI/1.1"}, {"QUERY_STRING", ""},
        {"REQUEST_METHOD", "GET"},        {"SCRIPT_NAME", ""},
        {"SERVER_NAME", "localhost"},     {"SERVER_PORT", "80"},
        {"SERVER_PROTOCOL", "HTTP/1.0"},  {"SERVER_SOFTWARE", "preforkd"},
        {"REMOTE_ADDR", "0.0.0.0"},
    };
    if (is_empty(env, "CONTENT_TYPE"))
        cgi_env_unset(env, "CONTENT_TYPE");
    if (is_empty(env, "PATH_INFO"))
        cgi_env_unset(env, "PATH_TRANSLATED");
    if (is_empty(env, "REMOTE_USER")) /* programs test whether it is set */
        cgi_env_unset(env, "REMOTE_USER");
    if (cgi_env_length(env) < 0)
        cgi_env_unset(env, "CONTENT_LENGTH");
    /* A web server that has checked the password itself need not pass it to the program (RFC 3875,
     * 4.1.18). REMOTE_USER proves nothing: nginx sets it to whatever name the client claims. */
    if (!is_empty(env, "AUTH_TYPE"))
        cgi_env_unset(env, "HTTP_AUTHORIZATION");
    for (unsigned i = 0; i < sizeof required / sizeof *required; i++)
        if (!cgi_env_get(env, required[i][0]) && !cgi_env_set(env, required[i][0], required[i][1]))
            return false;
    return true;
}

long long cgi_env_length(const struct cgi_env *env)
{
    enum { DIGITS_MAX = 18 }; /* no number of so many digits overflows */
    const char *text = cgi_env_get(env, "CONTENT_LENGTH");
    size_t digits = text ? strspn(text, "0123456789") : 0;
    return digits == 0 || digits > DIGITS_MAX || text[digits] ? -1 : strtoll(text, NULL, 10);
}
