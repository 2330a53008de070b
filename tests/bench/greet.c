/* greet - sends one word of five bytes and closes, in every model: like nginx's `return`. */
#include "../../src/module/preforkd/module.h"

static int serve(const struct preforkd_host *host, struct preforkd_conn *conn, void *state)
{
    (void)state;
    return host->write(conn, "hello", 5);
}

const struct preforkd_module preforkd_module = {
    PREFORKD_MODULE_HEAD,
    .serve = serve,
    .models = PREFORKD_PROCESS | PREFORKD_THREAD | PREFORKD_EVENT,
};
