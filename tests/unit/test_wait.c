/* Long waits: no test waits so long, so poll(2) here only sets the clock ahead. */
#include "../../src/conn/conn.h"
#include "../../src/handlers/cgi_session.h"
#include "unit.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DAY (24 * 3600 * USEC_SECOND)

static usec ahead;

int clock_gettime(clockid_t clock, struct timespec *now)
{
    long result = syscall(SYS_clock_gettime, clock, now);
    now->tv_sec += ahead / USEC_SECOND;
    return (int)result;
}

/* Less than a second is lost each time. */
int poll(struct pollfd *watched, nfds_t count, int msec)
{
    (void)watched, (void)count;
    ck_assert_int_ge(msec, 0);
    ahead += (msec + 999) / 1000 * USEC_SECOND;
    return 0;
}

/* Sets the clock back, by which Check measures how long a test took. */
static bool has_come(usec deadline)
{
    bool come = clock_now() >= deadline;
    ahead = 0;
    return come;
}

START_TEST(milliseconds)
{
    ck_assert_int_eq(clock_msec(-1), 0);
    ck_assert_int_eq(clock_msec(0), 0);
    ck_assert_int_eq(clock_msec(1), 1);
    ck_assert_int_eq(clock_msec(1000), 1);
    ck_assert_int_eq(clock_msec(1001), 2);
    ck_assert_int_eq(clock_msec(3600 * USEC_SECOND - 1), 3600 * 1000);
    ck_assert_int_eq(clock_msec(USEC_NEVER), 3600 * 1000);
}
END_TEST

START_TEST(a_connection_is_awaited)
{
    struct conn conn = {.fd = -1};
    usec deadline = clock_now() + 30 * DAY; /* more milliseconds than an int holds */
    ck_assert_int_eq(conn_wait(&conn, POLLIN, deadline), -ETIMEDOUT);
    ck_assert(has_come(deadline));
}
END_TEST

START_TEST(a_web_server_is_awaited)
{
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    struct service service = {.idle_timeout = 2 * 3600};
    struct conn conn = {.fd = ends[0]};
    struct cgi_session session;
    cgi_session_begin(&session, &service, &conn);
    usec deadline = clock_now() + 2 * 3600 * USEC_SECOND;
    ck_assert_int_eq(cgi_session_read_more(&session, /* resting: */ false), -ETIMEDOUT);
    ck_assert(has_come(deadline));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("wait");
    tcase_add_test(tests, milliseconds);
    tcase_add_test(tests, a_connection_is_awaited);
    tcase_add_test(tests, a_web_server_is_awaited);
    return unit_run("wait", tests);
}
