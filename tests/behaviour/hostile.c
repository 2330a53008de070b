/*
 * hostile - a module that attacks all that it shares with other processes. Each connection sends
 * one line, an attack and its numbers, and gets "done" when it is over.
 *
 * It knows no memory layout and no descriptor numbers: it takes them from its own /proc. Only
 * `endless` knows where a text is. An attack in the background lasts for the number of seconds in
 * its line.
 */
#include "../../src/board/scoreboard.h"
#include "../../src/module/preforkd/module.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MAPPINGS = 64, DESCRIPTORS = 256, JUNK = 1 << 20 };

static int own_fd = -1; /* the commanding connection's socket, which is not shared */

/* Shared mappings. */

struct mapping {
    char *at;
    size_t size;
    int writable;
};

/* Returns how many there are, in the kernel's order. */
static int find_mappings(struct mapping *found)
{
    char line[512], rights[5];
    unsigned long from, to;
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && count < MAPPINGS && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %4s", &from, &to, rights) == 3 && rights[3] == 's')
            found[count++] = (struct mapping){(char *)from, to - from, rights[1] == 'w'};
    if (maps)
        fclose(maps);
    return count;
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return *seed >> 33;
}

/* Sets one in `sparse` words of `width` bytes to `value`. */
static void set_words(size_t width, uint64_t value, unsigned sparse, uint64_t seed)
{
    struct mapping found[MAPPINGS];
    int count = find_mappings(found);
    for (int i = 0; i < count; i++)
        for (size_t at = 0; found[i].writable && at + width <= found[i].size; at += width)
            if (sparse < 2 || next_random(&seed) % sparse == 0)
                memcpy(found[i].at + at, &value, width); /* little-endian */
}

static void set_random(uint64_t seed)
{
    struct mapping found[MAPPINGS];
    int count = find_mappings(found);
    for (int i = 0; i < count; i++)
        for (size_t at = 0; found[i].writable && at < found[i].size; at++)
            found[i].at[at] = (char)next_random(&seed);
}

/* Tries to gain more access to the mappings, then unmaps them. */
static void remap(void)
{
    struct mapping found[MAPPINGS];
    int count = find_mappings(found);
    for (int i = 0; i < count; i++) {
        struct mapping *m = &found[i];
        if (mprotect(m->at, m->size, PROT_READ | PROT_WRITE | PROT_EXEC) == 0)
            memset(m->at, 0xff, m->size);
        char *more = mremap(m->at, 0, m->size, MREMAP_MAYMOVE);
        if (more != MAP_FAILED && mprotect(more, m->size, PROT_READ | PROT_WRITE) == 0)
            memset(more, 0x5a, m->size);
        madvise(m->at, m->size, MADV_REMOVE);
        munmap(m->at, m->size);
    }
}

/* Inherited descriptors. */

static int find_descriptors(int *found)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    for (struct dirent *entry; directory && count < DESCRIPTORS && (entry = readdir(directory));) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd != own_fd && fd != dirfd(directory))
            found[count++] = fd;
    }
    if (directory)
        closedir(directory);
    return count;
}

static void set_nonblock(int fd, int on)
{
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

static void block(int fd, long number)
{
    (void)number;
    set_nonblock(fd, 0);
}

static void nonblock(int fd, long number)
{
    (void)number;
    set_nonblock(fd, 1);
}

/* Makes the kernel signal another process at each event. */
static void set_owner(int fd, long pid)
{
    struct f_owner_ex owner = {F_OWNER_PID, (pid_t)pid};
    int on = 1, id = (int)pid;
    fcntl(fd, F_SETOWN, (int)pid);
    fcntl(fd, F_SETOWN_EX, &owner);
    fcntl(fd, F_SETSIG, SIGKILL);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC);
    ioctl(fd, FIOASYNC, &on);
    ioctl(fd, SIOCSPGRP, &id);
}

static void lock(int fd, long number)
{
    struct flock whole = {.l_type = F_WRLCK};
    (void)number;
    fcntl(fd, F_SETLK, &whole);
    fcntl(fd, F_OFD_SETLK, &whole);
    flock(fd, LOCK_EX | LOCK_NB);
    fcntl(fd, F_SETLEASE, F_WRLCK);
}

/* Empties it, and makes it block the next reader. */
static void drain(int fd, long number)
{
    char piece[4096];
    (void)number;
    set_nonblock(fd, 1);
    for (int turn = 0; turn < 10000 && read(fd, piece, sizeof piece) > 0; turn++)
        ;
    for (int turn = 0, got; turn < 10000 && (got = accept(fd, NULL, NULL)) >= 0; turn++)
        close(got);
    set_nonblock(fd, 0);
}

/* Fills it, and makes it block the next writer. */
static void fill(int fd, long number)
{
    static const char junk[4096] = {1};
    uint64_t most = 0xfffffffffffffffe;
    (void)number;
    set_nonblock(fd, 1);
    write(fd, &most, sizeof most);
    for (int turn = 0; turn < JUNK / (int)sizeof junk && write(fd, junk, sizeof junk) > 0; turn++)
        ;
    set_nonblock(fd, 0);
}

static void shut_down(int fd, long number)
{
    (void)number;
    shutdown(fd, SHUT_RDWR);
}

static void reconnect(int fd, long number)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    struct sockaddr_in discard = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    (void)number;
    set_nonblock(fd, 1);
    connect(fd, &none, sizeof none);
    connect(fd, (struct sockaddr *)&path, sizeof path);
    connect(fd, (struct sockaddr *)&discard, sizeof discard);
    set_nonblock(fd, 0);
}

static void listen_to_none(int fd, long number)
{
    (void)number;
    listen(fd, 0);
}

static void set_options(int fd, long number)
{
    static const struct {
        int level, name;
    } options[] = {
        {SOL_SOCKET, SO_RCVBUF},         {SOL_SOCKET, SO_SNDBUF},
        {SOL_SOCKET, SO_RCVLOWAT},       {SOL_SOCKET, SO_PRIORITY},
        {SOL_SOCKET, SO_PASSCRED},       {SOL_SOCKET, SO_KEEPALIVE},
        {SOL_SOCKET, SO_OOBINLINE},      {SOL_SOCKET, SO_REUSEPORT},
        {IPPROTO_TCP, TCP_DEFER_ACCEPT}, {IPPROTO_TCP, TCP_MAXSEG},
        {IPPROTO_TCP, TCP_WINDOW_CLAMP},
    };
    int value = (int)number;
    struct timeval moment = {.tv_usec = 1}, never = {0};
    struct linger at_once = {1, 0};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        setsockopt(fd, options[i].level, options[i].name, &value, sizeof value);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, value ? &moment : &never, sizeof moment);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, value ? &moment : &never, sizeof moment);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

/* Filters out all data. */
static void filter(int fd, long number)
{
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = {1, &nothing};
    (void)number;
    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
    setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &(int){1}, sizeof(int));
}

/* Shortens a file: a process that reads its mapping beyond the end dies. */
static void truncate_to(int fd, long size)
{
    ftruncate(fd, (off_t)size);
}

static void punch(int fd, long number)
{
    (void)number;
    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)1 << 40);
    fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096);
}

static void seal(int fd, long number)
{
    (void)number;
    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE);
    fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

static void control_it(int fd, long number)
{
    int value = (int)number;
    ioctl(fd, FIONBIO, &value);
    ioctl(fd, FIOASYNC, &value);
    fcntl(fd, F_SETPIPE_SZ, 4096);
    fcntl(fd, F_NOTIFY, 0x80000000);
}

/* Adds it to an epoll set that takes wake-ups and ignores them; if it is an epoll set itself,
 * removes its entries. */
static void watch(int fd, long number)
{
    static int set = -1;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
    (void)number;
    if (set < 0)
        set = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    for (int other = 0; other < DESCRIPTORS && fd != set; other++)
        epoll_ctl(fd, EPOLL_CTL_DEL, other, &event);
}

/* Opens the same file with access that this descriptor doesn't have, and overwrites it. */
static void open_anew(int fd, long number)
{
    char path[64];
    (void)number;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    off_t size = again < 0 ? 0 : lseek(again, 0, SEEK_END);
    if (size > 0) {
        char *at = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0);
        if (at != MAP_FAILED)
            memset(at, 0x5a, (size_t)size);
        ftruncate(again, 0);
    }
    if (again >= 0)
        close(again);
}

static void close_it(int fd, long number)
{
    (void)number;
    close(fd);
}

static const struct abuse {
    const char *name;
    void (*abuse)(int fd, long number);
} abuses[] = {
    {"block", block},         {"nonblock", nonblock}, {"owner", set_owner},
    {"lock", lock},           {"drain", drain},       {"fill", fill},
    {"shutdown", shut_down},  {"connect", reconnect}, {"listen", listen_to_none},
    {"options", set_options}, {"filter", filter},     {"truncate", truncate_to},
    {"punch", punch},         {"seal", seal},         {"ioctl", control_it},
    {"watch", watch},         {"reopen", open_anew},  {"close", close_it},
};

static const struct abuse *find_abuse(const char *name)
{
    for (size_t i = 0; i < sizeof abuses / sizeof *abuses; i++)
        if (strcmp(abuses[i].name, name) == 0)
            return &abuses[i];
    return NULL;
}

static void abuse_all(const struct abuse *abuse, long number)
{
    int found[DESCRIPTORS], count = find_descriptors(found);
    for (int i = 0; abuse && i < count; i++)
        abuse->abuse(found[i], number);
}

/* Attacks in the background. */

struct lasting {
    double until;
    const struct abuse *abuse; /* NULL: overwrites shared memory */
    long number;
};

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

static void *last(void *argument)
{
    struct lasting *lasting = argument;
    uint64_t seed = (uint64_t)lasting->number;
    while (now() < lasting->until) {
        if (lasting->abuse)
            abuse_all(lasting->abuse, lasting->number);
        else
            set_words(4, next_random(&seed), 8, seed);
        poll(NULL, 0, 1); /* leaves others some CPU time */
    }
    free(lasting);
    return NULL;
}

static void begin_lasting(long seconds, const char *name, long number)
{
    struct lasting *lasting = malloc(sizeof *lasting);
    sigset_t all, before;
    pthread_t thread;
    if (!lasting)
        return;
    *lasting = (struct lasting){now() + (double)seconds, find_abuse(name), number};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, last, lasting) == 0)
        pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* A process that outlives the worker keeps the text of the last slot in use without an end: after
 * it, there is no NUL in the whole memory. */
static void write_endless(long seconds)
{
    struct mapping found[MAPPINGS];
    int count = find_mappings(found), at = 0;
    double until = now() + (double)seconds;
    while (at < count && (!found[at].writable || found[at].size < sizeof(struct scoreboard)))
        at++;
    if (at == count)
        return;
    struct slot *slot = &((struct scoreboard *)found[at].at)->slots[SCOREBOARD_SLOTS - 1];
    while (slot->state == SLOT_FREE)
        slot--;
    volatile char *text = slot->reason;
    memset((char *)text, 'A', (size_t)(found[at].at + found[at].size - text));
    if (fork() != 0)
        return;
    close(own_fd);
    while (now() < until)
        for (int turn = 0; turn < 1000 * SCOREBOARD_REASON; turn++)
            text[turn % SCOREBOARD_REASON] = 'A';
    _exit(0);
}

/* Commands. */

/* Returns whether the word is a command. `a` and `b` are its numbers. */
static int obey(const char *word, const char *name, long long a, long long b)
{
    if (strcmp(word, "words32") == 0)
        set_words(4, (uint64_t)a, (unsigned)b, 1);
    else if (strcmp(word, "words64") == 0)
        set_words(8, (uint64_t)a, (unsigned)b, 1);
    else if (strcmp(word, "random") == 0)
        set_random((uint64_t)a);
    else if (strcmp(word, "remap") == 0)
        remap();
    else if (strcmp(word, "descriptors") == 0)
        abuse_all(find_abuse(name), (long)a);
    else if (strcmp(word, "lasting") == 0)
        begin_lasting((long)a, name, (long)b);
    else if (strcmp(word, "endless") == 0)
        write_endless((long)a);
    else if (strcmp(word, "exit") == 0)
        _exit((int)a);
    else
        return 0;
    return 1;
}

static int serve(const struct preforkd_host *host, struct preforkd_conn *conn, void *state)
{
    char line[256], word[64] = "", name[64] = "";
    long long a = 0, b = 0;
    size_t size = 0;
    (void)state;
    while (size < sizeof line - 1 && !memchr(line, '\n', size)) {
        ssize_t got = host->read(conn, line + size, sizeof line - 1 - size);
        if (got <= 0)
            return (int)got;
        size += (size_t)got;
    }
    line[size] = '\0';
    own_fd = host->descriptor(conn);
    sscanf(line, "%63s %63s %lli %lli", word, name, &a, &b);
    const char *answer = obey(word, name, a, b) ? "done\n" : line;
    return host->write(conn, answer, strlen(answer));
}

extern const struct preforkd_module preforkd_module __attribute__((visibility("default")));

const struct preforkd_module preforkd_module = {PREFORKD_MODULE_HEAD, .serve = serve};
