#include "../../src/shared/queue.h"
#include "unit.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* So many clients of a listener that nobody accepts from. */
static void check_queue(int family, const struct sockaddr *address, socklen_t size)
{
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    int clients[5], depth = -1, room = -1;
    int listener = socket(family, SOCK_STREAM, 0);
    ck_assert(bind(listener, address, size) == 0 && listen(listener, 17) == 0);
    ck_assert(getsockname(listener, (struct sockaddr *)&bound, &length) == 0);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(queue_read(listener, &depth, &room), 0);
        ck_assert_int_eq(depth, i);
        ck_assert_int_eq(room, 17);
        clients[i] = socket(family, SOCK_STREAM, 0);
        ck_assert(connect(clients[i], (struct sockaddr *)&bound, length) == 0);
    }
    int taken = accept(listener, NULL, NULL);
    ck_assert(queue_read(listener, &depth, &room) == 0 && depth == 4);
    close(taken);
    for (int i = 0; i < 5; i++)
        close(clients[i]);
    close(listener);
}

START_TEST(of_tcp)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    check_queue(AF_INET, (struct sockaddr *)&any, sizeof any);
}
END_TEST

START_TEST(of_a_unix_socket)
{
    struct sockaddr_un unnamed = {.sun_family = AF_UNIX}; /* the kernel names it */
    check_queue(AF_UNIX, (struct sockaddr *)&unnamed, sizeof(sa_family_t));
}
END_TEST

START_TEST(of_nothing)
{
    int depth = 7, room = 8, pipes[2];
    ck_assert(pipe(pipes) == 0);
    ck_assert_int_eq(queue_read(-1, &depth, &room), -EBADF);
    ck_assert_int_eq(queue_read(pipes[0], &depth, &room), -ENOTSOCK);
    ck_assert(depth == 7 && room == 8);
    close(pipes[0]);
    close(pipes[1]);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("queue");
    tcase_add_test(tests, of_tcp);
    tcase_add_test(tests, of_a_unix_socket);
    tcase_add_test(tests, of_nothing);
    return unit_run("queue", tests);
}
