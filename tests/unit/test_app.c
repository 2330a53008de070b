#include "../../src/handlers/program.h"
#include "unit.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static char home[] = "HOME=/", set[] = "EINHORN_FDS=mine", prefix[] = "LISTEN=x";

static const struct app_socket sockets[] = {
    {"web", "127.0.0.1:80"}, {"web", "[::]:8080"}, {"admin", "/run/a b.sock"}};

/* Checks what a program gets on top of a base, and releases it. */
static void same(char *const *base, const struct app_facts *facts, const char *const *right)
{
    char **list = app_environment(base, facts);
    int i = 0;
    ck_assert_ptr_nonnull(list);
    for (; right[i]; i++)
        ck_assert_str_eq(list[i] ? list[i] : "nothing", right[i]);
    ck_assert_ptr_null(list[i]);
    int inherited = 0;
    while (base[inherited])
        inherited++;
    while (i > inherited)
        free(list[--i]);
    free(list);
}

START_TEST(speaks_three_dialects)
{
    char *const base[] = {home, NULL};
    struct app_facts facts = {
        .pid = 4711, .generation = 3, .number = 2, .sockets = sockets, .socket_count = 3};
    same(base, &facts,
         (const char *const[]){
             "HOME=/", "LISTEN_FDS=3", "LISTEN_PID=4711", "LISTEN_FDNAMES=web:web:admin",
             "SERVER_STARTER_PORT=127.0.0.1:80=3;[::]:8080=4;/run/a b.sock=5",
             "SERVER_STARTER_GENERATION=3", "EINHORN_FD_COUNT=3", "EINHORN_FDS=3 4 5",
             "EINHORN_FD_0=3", "EINHORN_FD_1=4", "EINHORN_FD_2=5", "PREFORKD_SLOT=2", NULL});
}
END_TEST

START_TEST(tells_where_to_speak)
{
    char *const base[] = {NULL};
    struct app_facts facts = {
        .pid = 1, .sockets = sockets, .socket_count = 1, .notify = "@0001f", .watchdog = 30000000};
    same(base, &facts,
         (const char *const[]){"LISTEN_FDS=1", "LISTEN_PID=1", "LISTEN_FDNAMES=web",
                               "NOTIFY_SOCKET=@0001f", "WATCHDOG_PID=1", "WATCHDOG_USEC=30000000",
                               "SERVER_STARTER_PORT=127.0.0.1:80=3", "SERVER_STARTER_GENERATION=0",
                               "EINHORN_FD_COUNT=1", "EINHORN_FDS=3", "EINHORN_FD_0=3",
                               "PREFORKD_SLOT=0", NULL});
}
END_TEST

/* Only if the whole name matches. */
START_TEST(base_has_precedence)
{
    char *const base[] = {set, prefix, NULL};
    struct app_facts facts = {.pid = 1, .sockets = sockets, .socket_count = 1};
    same(base, &facts,
         (const char *const[]){"EINHORN_FDS=mine", "LISTEN=x", "LISTEN_FDS=1", "LISTEN_PID=1",
                               "LISTEN_FDNAMES=web", "SERVER_STARTER_PORT=127.0.0.1:80=3",
                               "SERVER_STARTER_GENERATION=0", "EINHORN_FD_COUNT=1",
                               "EINHORN_FD_0=3", "PREFORKD_SLOT=0", NULL});
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("app");
    tcase_add_test(tests, speaks_three_dialects);
    tcase_add_test(tests, tells_where_to_speak);
    tcase_add_test(tests, base_has_precedence);
    return unit_run("app", tests);
}
