/* echo - the built-in echo as a module. */
#include "../../src/module/preforkd/module.h"

static char data[16 * 1024];

static int serve(const struct preforkd_host *host, struct preforkd_conn *conn, void *state)
{
    (void)state;
    for (;;) {
        ssize_t n = host->read(conn, data, sizeof data);
        if (n <= 0)
            return (int)n;
        int error = host->write(conn, data, (size_t)n);
        if (error)
            return error;
    }
}

const struct preforkd_module preforkd_module = {
    PREFORKD_MODULE_HEAD,
    .serve = serve,
};
