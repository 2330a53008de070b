#include "lines.h"

#include "../base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    READ_AT_ONCE = 16 * 1024,  /* so that one chatty worker does not keep the master */
    READ_AT_DEATH = 64 * 1024, /* a pipe's default size (pipe(7)) */
};

usec lines_rate_tell(struct lines_rate *rate, const char *pool, usec now)
{
    if (!rate->missed)
        return USEC_NEVER;
    if (now < rate->window + USEC_SECOND)
        return rate->window + USEC_SECOND;
    log_warning("pool %s: %u lines of standard error were left out, more than %d in a second "
                "pool=%s missed=%u",
                pool, rate->missed, LINES_A_SECOND, pool, rate->missed);
    rate->missed = 0;
    return USEC_NEVER;
}

static bool may_say(struct lines_rate *rate, const char *pool)
{
    usec now = clock_now();
    if (now >= rate->window + USEC_SECOND) {
        lines_rate_tell(rate, pool, now);
        rate->window = now;
        rate->said = 0;
    }
    if (rate->said < LINES_A_SECOND) {
        rate->said++;
        return true;
    }
    if (rate->missed++ == 0 && rate->changed)
        *rate->changed = true;
    return false;
}

static void end_line(struct lines *lines)
{
    if (lines->length && lines->line[lines->length - 1] == '\r')
        lines->length--;
    if (lines->length == 0 && !lines->cutting)
        return;
    log_escape(lines->last, sizeof lines->last, lines->line, lines->length);
    if (may_say(lines->rate, lines->pool))
        log_notice("pool %s: worker %d: %.*s%s pool=%s pid=%d", lines->pool, (int)lines->pid,
                   lines->length, lines->line, lines->cutting ? " [cut]" : "", lines->pool,
                   (int)lines->pid);
    lines->length = 0;
    lines->cutting = false;
}

static void take(struct lines *lines, const char *data, size_t size)
{
    const char *end = data + size;
    while (data < end) {
        const char *newline = memchr(data, '\n', (size_t)(end - data));
        int run = (int)((newline ? newline : end) - data);
        int room = LINES_LENGTH - lines->length;
        lines->cutting = lines->cutting || run > room;
        int kept = run < room ? run : room;
        memcpy(lines->line + lines->length, data, (size_t)kept);
        lines->length += kept;
        data += run;
        if (newline) {
            end_line(lines);
            data++;
        }
    }
}

/* 0 where nothing is left, negative at the end of the stream. */
static ssize_t read_some(struct lines *lines)
{
    char data[4096];
    ssize_t n = read(lines->watch.fd, data, sizeof data);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (n == 0)
        return -1;
    if (!lines->line)
        lines->line = malloc(LINES_LENGTH);
    if (lines->line)
        take(lines, data, (size_t)n);
    return n;
}

static ssize_t read_up_to(struct lines *lines, ssize_t most)
{
    ssize_t n = 1, sum = 0;
    while (sum < most && (n = read_some(lines)) > 0)
        sum += n;
    return n;
}

static void close_pipe(struct lines *lines)
{
    if (lines->watch.fd < 0)
        return;
    loop_remove(lines->loop, &lines->watch);
    close(lines->watch.fd);
    lines->watch.fd = -1;
}

static void lines_ready(void *owner)
{
    struct lines *lines = owner;
    if (read_up_to(lines, READ_AT_ONCE) < 0)
        close_pipe(lines);
}

int lines_adopt(struct lines *lines, struct loop *loop, const char *pool, struct lines_rate *rate,
                int fd)
{
    *lines = (struct lines){.watch = {.fd = fd, .ready = lines_ready, .owner = lines},
                            .loop = loop,
                            .pool = pool,
                            .rate = rate};
    int error = fd < 0 ? 0 : loop_add(loop, &lines->watch);
    if (error) {
        close(fd);
        lines->watch.fd = -1;
    }
    return error;
}

int lines_open(struct lines *lines, struct loop *loop, const char *pool, struct lines_rate *rate)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return -errno;
    int error = lines_adopt(lines, loop, pool, rate, ends[0]);
    if (error) {
        close(ends[1]);
        return error;
    }
    /* Programs expect a standard error that blocks; the flag is per end of the pipe. */
    fcntl(ends[1], F_SETFL, 0);
    return ends[1];
}

void lines_flush(struct lines *lines)
{
    if (lines->line)
        end_line(lines);
}

void lines_close(struct lines *lines)
{
    if (lines->watch.fd >= 0)
        read_up_to(lines, READ_AT_DEATH);
    lines_flush(lines);
    close_pipe(lines);
    free(lines->line);
    lines->line = NULL;
    lines->length = 0;
}
