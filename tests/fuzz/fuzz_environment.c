/* Any bytes as the parameters of a web server: a stream of name-value pairs, or, if the first byte
 * is even, lines of NAME=VALUE that are turned into one, so that the fuzzer gets further. The
 * program's environment is well-formed, holds no name twice and no refused one, and keeps the
 * pool's own variables. */
#include "fuzz.h"

#include "../../src/handlers/cgi_env.h"
#include "../../src/wire/fcgi.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static void must(bool holds)
{
    if (!holds)
        abort();
}

static char path[] = "PATH=/bin", name[] = "SERVER_NAME=mine", odd[] = "A=";
static char *const pool[] = {path, name, odd, NULL};
static struct cgi_env env;

static bool same_name(const char *a, const char *b)
{
    size_t size = strcspn(a, "=") + 1;
    return strncmp(a, b, size) == 0;
}

static void check_list(void)
{
    static const char *const refused[] = {
        "HTTP_PROXY=",    "LD_",   "BASH_ENV=",  "IFS=", "PYTHON", "LISTEN_",
        "NOTIFY_SOCKET=", "PERL5", "GCONV_PATH="};
    must(env.count <= CGI_VARIABLES_MAX && !env.list[env.count]);
    for (int i = 0; pool[i]; i++)
        must(env.list[i] == pool[i]);
    for (int i = 0; i < env.count; i++) {
        const char *variable = env.list[i];
        size_t length = strcspn(variable, "=");
        must(variable[length] == '=' && length > 0 && !isdigit((unsigned char)variable[0]));
        for (unsigned r = 0; r < sizeof refused / sizeof *refused; r++)
            must(strncmp(variable, refused[r], strlen(refused[r])) != 0);
        for (int k = 0; k < i && i < 64; k++)
            must(!same_name(env.list[k], variable));
    }
}

static void check_complete(void)
{
    static const char *const required[] = {
        "GATEWAY_INTERFACE", "QUERY_STRING", "REMOTE_ADDR",     "REQUEST_METHOD", "SCRIPT_NAME",
        "SERVER_NAME",       "SERVER_PORT",  "SERVER_PROTOCOL", "SERVER_SOFTWARE"};
    static const char *const never_empty[] = {"CONTENT_TYPE", "REMOTE_USER", "CONTENT_LENGTH"};
    for (unsigned i = 0; i < sizeof required / sizeof *required; i++)
        must(cgi_env_get(&env, required[i]) != NULL);
    for (unsigned i = 0; i < sizeof never_empty / sizeof *never_empty; i++)
        must(!cgi_env_get(&env, never_empty[i]) || *cgi_env_get(&env, never_empty[i]));
    must((cgi_env_length(&env) >= 0) == (cgi_env_get(&env, "CONTENT_LENGTH") != NULL));
    must(strcmp(cgi_env_get(&env, "SERVER_NAME"), "mine") == 0);
    must(cgi_env_set(&env, "SCRIPT_NAME", "/x") && cgi_env_set(&env, "SERVER_NAME", "other"));
    must(strcmp(cgi_env_get(&env, "SCRIPT_NAME"), "/x") == 0);
    must(strcmp(cgi_env_get(&env, "SERVER_NAME"), "mine") == 0);
    cgi_env_unset(&env, "SCRIPT_NAME");
    cgi_env_unset(&env, "PATH");
    must(!cgi_env_get(&env, "SCRIPT_NAME") && cgi_env_get(&env, "PATH"));
}

/* The longer form of a length, which any length may have. */
static size_t put_length(char *to, size_t length)
{
    to[0] = (char)(0x80 | length >> 24);
    to[1] = (char)(length >> 16);
    to[2] = (char)(length >> 8);
    to[3] = (char)length;
    return 4;
}

static size_t make_pairs(char *to, const char *lines, size_t size)
{
    char *start = to;
    for (const char *at = lines, *end = lines + size; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((newline ? newline : end) - at);
        const char *sign = memchr(at, '=', length);
        size_t name_size = sign ? (size_t)(sign - at) : length;
        size_t value_size = sign ? length - name_size - 1 : 0;
        to += put_length(to, name_size);
        to += put_length(to, value_size);
        memcpy(to, at, name_size);
        memcpy(to + name_size, at + length - value_size, value_size);
        to += name_size + value_size;
        at += length + 1;
    }
    return (size_t)(to - start);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0 || size > CGI_PARAMS_MAX / 10)
        return 0;
    char *pairs = malloc(9 * size);
    must(pairs != NULL);
    size_t length = size - 1;
    if (bytes[0] % 2)
        memcpy(pairs, bytes + 1, length);
    else
        length = make_pairs(pairs, (const char *)bytes + 1, size - 1);
    char *params = malloc(length + 1); /* the environment is written into it */
    must(params != NULL);
    memcpy(params, pairs, length);
    cgi_env_begin(&env, pool);
    bool read = cgi_env_take(&env, params, length);
    must(read || bytes[0] % 2 || env.count == CGI_VARIABLES_MAX);
    check_list();
    if (read && cgi_env_complete(&env)) {
        check_list();
        check_complete();
    }
    free(params);
    free(pairs);
    return 0;
}
