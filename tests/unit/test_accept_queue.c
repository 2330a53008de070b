#include "../../src/listeners/accept_queue.h"
#include "unit.h"

#include <check.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct accept_queues queues;

static void check_depth(int listener, int depth)
{
    struct stat file;
    ck_assert_int_eq(fstat(listener, &file), 0);
    ck_assert_int_eq(accept_queues_ask(&queues), 0);
    const struct accept_queue *queue = accept_queues_find(&queues, file.st_ino);
    ck_assert_ptr_nonnull(queue);
    ck_assert_int_eq(queue->depth, depth);
    ck_assert_int_eq(queue->room, 17);
}

/* Makes connections that nobody accepts. */
static void check_queue(int family, const struct sockaddr *address, socklen_t size)
{
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    int clients[5];
    int listener = socket(family, SOCK_STREAM, 0);
    ck_assert(bind(listener, address, size) == 0 && listen(listener, 17) == 0);
    ck_assert(getsockname(listener, (struct sockaddr *)&bound, &length) == 0);
    for (int i = 0; i < 5; i++) {
        check_depth(listener, i);
        clients[i] = socket(family, SOCK_STREAM, 0);
        ck_assert(connect(clients[i], (struct sockaddr *)&bound, length) == 0);
    }
    check_depth(listener, 5);
    int taken = accept(listener, NULL, NULL);
    check_depth(listener, 4);
    close(taken);
    for (int i = 0; i < 5; i++)
        close(clients[i]);
    close(listener);
    accept_queues_free(&queues);
}

START_TEST(of_ipv4)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    check_queue(AF_INET, (struct sockaddr *)&any, sizeof any);
}
END_TEST

START_TEST(of_ipv6)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int there = socket(AF_INET6, SOCK_STREAM, 0);
    bool can = there >= 0 && bind(there, (struct sockaddr *)&any, sizeof any) == 0;
    close(there);
    if (can)
        check_queue(AF_INET6, (struct sockaddr *)&any, sizeof any);
}
END_TEST

START_TEST(of_a_unix_socket)
{
    struct sockaddr_un unnamed = {.sun_family = AF_UNIX}; /* the kernel names it */
    check_queue(AF_UNIX, (struct sockaddr *)&unnamed, sizeof(sa_family_t));
}
END_TEST

/* More listeners than one answer of the kernel holds; each is found by its own inode. */
START_TEST(of_many)
{
    enum { MANY = 700 };
    static int listeners[MANY];
    struct sockaddr_un unnamed = {.sun_family = AF_UNIX};
    struct stat file;
    for (int i = 0; i < MANY; i++) {
        listeners[i] = socket(AF_UNIX, SOCK_STREAM, 0);
        ck_assert(bind(listeners[i], (struct sockaddr *)&unnamed, sizeof(sa_family_t)) == 0);
        ck_assert_int_eq(listen(listeners[i], i + 1), 0);
    }
    ck_assert_int_eq(accept_queues_ask(&queues), 0);
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(fstat(listeners[i], &file), 0);
        const struct accept_queue *queue = accept_queues_find(&queues, file.st_ino);
        ck_assert(queue && queue->depth == 0 && queue->room == i + 1);
        close(listeners[i]);
    }
    accept_queues_free(&queues);
}
END_TEST

/* A second shutdown() leaves state on the socket, which the next listen(2) clears. */
START_TEST(of_one_that_was_shut_down)
{
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct stat socket;
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&local, sizeof local), 0);
    for (int times = 0; times < 3; times++) {
        ck_assert_int_eq(listen(fd, 1), 0);
        ck_assert_int_eq(fstat(fd, &socket), 0);
        ck_assert_int_eq(accept_queues_ask(&queues), 0);
        const struct accept_queue *queue = accept_queues_find(&queues, socket.st_ino);
        ck_assert_ptr_nonnull(queue);
        ck_assert_int_eq(queue->half_shut, times == 2);
        shutdown(fd, SHUT_RDWR);
        if (times == 1)
            shutdown(fd, SHUT_RDWR);
    }
    close(fd);
    accept_queues_free(&queues);
}
END_TEST

START_TEST(of_nothing)
{
    ck_assert_ptr_null(accept_queues_find(&queues, 1));
    ck_assert_int_eq(accept_queues_ask(&queues), 0);
    ck_assert_ptr_null(accept_queues_find(&queues, 0));
    ck_assert_ptr_null(accept_queues_find(&queues, UINT64_MAX));
    accept_queues_free(&queues);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("queue");
    tcase_add_test(tests, of_ipv4);
    tcase_add_test(tests, of_ipv6);
    tcase_add_test(tests, of_a_unix_socket);
    tcase_add_test(tests, of_many);
    tcase_add_test(tests, of_one_that_was_shut_down);
    tcase_add_test(tests, of_nothing);
    return unit_run("queue", tests);
}
