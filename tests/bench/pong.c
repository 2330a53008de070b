/*
 * pong - long connections: bare echo servers, and clients that keep asking them.
 *
 * usage: pong epoll|thread LISTENER     serves: one epoll loop, or a thread per connection
 *        pong ping [-c CLIENTS] [-t SECONDS] PORT
 *
 * A server prints "ready". The clients each send five bytes, wait for them to come back, and send
 * the next; one JSON object says how many per second, and how long they took.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WORD = 5, EVENTS = 128, CLIENTS_MAX = 4096, BUCKETS = 1000000, BUFFER = 16384 };

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

/* --- the bare servers ------------------------------------------------------------------------- */

static void say_ready(void)
{
    puts("ready 1");
    fflush(stdout);
}

static void watch(int set, int fd, unsigned events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("epoll_ctl");
}

/* False if the connection has ended. Bytes beyond five are ignored. */
static bool echo(int fd, int flags)
{
    char data[BUFFER];
    ssize_t n = recv(fd, data, sizeof data, flags);
    return n > 0 ? send(fd, data, (size_t)n, flags | MSG_NOSIGNAL) == n : n < 0 && errno == EAGAIN;
}

static void serve_by_epoll(int listener)
{
    struct epoll_event events[EVENTS];
    int set = epoll_create1(EPOLL_CLOEXEC);
    watch(set, listener, EPOLLIN);
    say_ready();
    for (;;) {
        int count = epoll_wait(set, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                watch(set, accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), EPOLLIN);
            else if (!echo(fd, 0))
                close(fd);
        }
    }
}

static void *serve_one(void *argument)
{
    int fd = (int)(intptr_t)argument;
    while (echo(fd, 0))
        ;
    close(fd);
    return NULL;
}

static void serve_by_threads(int listener)
{
    say_ready();
    for (;;) {
        pthread_t thread = 0;
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 || pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)fd) != 0)
            fail("a connection");
        pthread_detach(thread);
    }
}

/* --- the clients ------------------------------------------------------------------------------ */

static uint32_t histogram[BUCKETS]; /* of microseconds */
static uint64_t sent[CLIENTS_MAX];
static int sockets[CLIENTS_MAX];

static uint64_t now_usec(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void ask(int number)
{
    sent[number] = now_usec();
    if (send(sockets[number], "12345", WORD, MSG_NOSIGNAL) != WORD)
        fail("send");
}

static void connect_all(int set, int clients, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < clients; i++) {
        int on = 1;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = i};
        sockets[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(sockets[i], (struct sockaddr *)&to, sizeof to) != 0)
            fail("connect");
        setsockopt(sockets[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (epoll_ctl(set, EPOLL_CTL_ADD, sockets[i], &event) != 0)
            fail("epoll_ctl");
    }
}

static uint64_t quantile(uint64_t total, double share)
{
    uint64_t below = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((below += histogram[i]) > (uint64_t)((double)total * share))
            return (uint64_t)i;
    return BUCKETS;
}

static void ping(int clients, double seconds, int port)
{
    struct epoll_event events[EVENTS];
    int set = epoll_create1(EPOLL_CLOEXEC);
    uint64_t total = 0;
    connect_all(set, clients, port);
    uint64_t began = now_usec(), end = began + (uint64_t)(seconds * 1e6), now = began;
    for (int i = 0; i < clients; i++)
        ask(i);
    while (now < end) {
        int count = epoll_wait(set, events, EVENTS, 1000);
        now = now_usec();
        for (int i = 0; i < count; i++) {
            char word[WORD];
            int number = events[i].data.fd;
            if (recv(sockets[number], word, WORD, MSG_WAITALL) != WORD)
                fail("recv");
            uint64_t took = now - sent[number];
            histogram[took < BUCKETS ? took : BUCKETS - 1]++;
            total++;
            ask(number);
        }
    }
    printf("{\"rate\": %.1f, \"answered\": %" PRIu64 ", \"p50_us\": %" PRIu64
           ", \"p99_us\": %" PRIu64 "}\n",
           (double)total / ((double)(now - began) / 1e6), total, quantile(total, 0.5),
           quantile(total, 0.99));
}

int main(int argc, char **argv)
{
    int clients = 64, option;
    double seconds = 2;
    while ((option = getopt(argc, argv, "c:t:")) >= 0)
        if (option == 'c')
            clients = atoi(optarg);
        else if (option == 't')
            seconds = atof(optarg);
        else
            return 2;
    if (argc - optind != 2 || clients < 1 || clients > CLIENTS_MAX || seconds <= 0)
        return 2;
    const char *word = argv[optind];
    int number = atoi(argv[optind + 1]);
    if (strcmp(word, "epoll") == 0)
        serve_by_epoll(number);
    else if (strcmp(word, "thread") == 0)
        serve_by_threads(number);
    else if (strcmp(word, "ping") == 0)
        ping(clients, seconds, number);
    else
        return 2;
    return 0;
}
