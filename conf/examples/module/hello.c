/* A module for preforkd: it sends a greeting, then echoes. `args = { "greeting=..." }` */
#include <preforkd/module.h>

#include <stdio.h>
#include <string.h>

static int check(const struct preforkd_host *host, char *why, size_t size)
{
    const char *greeting = host->arg(host, "greeting");
    if (greeting && strlen(greeting) <= 100)
        return 0;
    snprintf(why, size, "it needs greeting=TEXT, of 100 bytes at most");
    return -1;
}

static int serve(const struct preforkd_host *host, struct preforkd_conn *conn, void *state)
{
    char data[16 * 1024];
    const char *greeting = host->arg(host, "greeting");
    int error = host->write(conn, greeting, strlen(greeting));
    ssize_t n = 0;
    (void)state;
    while (error == 0 && (n = host->read(conn, data, sizeof data)) > 0)
        error = host->write(conn, data, (size_t)n);
    return error ? error : (int)n;
}

const struct preforkd_module preforkd_module = {
    PREFORKD_MODULE_HEAD,
    .check = check,
    .serve = serve,
};
