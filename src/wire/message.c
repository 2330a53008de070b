#include "message.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

enum { LENGTH_SIZE = 4, FLAGS_SIZE = 1, REQUEST_HEAD = LENGTH_SIZE + FLAGS_SIZE };

static uint32_t read_length(const uint8_t *bytes)
{
    uint32_t length;
    memcpy(&length, bytes, sizeof length);
    return ntohl(length);
}

static void write_length(uint8_t *bytes, uint32_t length)
{
    length = htonl(length);
    memcpy(bytes, &length, sizeof length);
}

static int read_words(struct message_request *request, const char *at, const char *end)
{
    if (at == end || end[-1] != '\0')
        return -EPROTO;
    while (at < end) {
        if (request->count == MESSAGE_WORDS)
            return -EPROTO;
        request->words[request->count++] = at;
        at += strlen(at) + 1;
    }
    return 0;
}

int message_read_request(struct message_request *request, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    if (size < LENGTH_SIZE)
        return 0;
    uint32_t length = read_length(at);
    if (length <= FLAGS_SIZE || length > MESSAGE_REQUEST_MAX - LENGTH_SIZE)
        return -EPROTO;
    if (size >= REQUEST_HEAD && at[LENGTH_SIZE] & ~(MESSAGE_JSON | MESSAGE_COLOUR))
        return -EPROTO;
    if (size < LENGTH_SIZE + length)
        return 0;
    *request = (struct message_request){.flags = at[LENGTH_SIZE]};
    const char *words = (const char *)at + REQUEST_HEAD;
    int error = read_words(request, words, words + length - FLAGS_SIZE);
    return error ? error : LENGTH_SIZE + (int)length;
}

int message_write_request(const struct message_request *request,
                          uint8_t bytes[static MESSAGE_REQUEST_MAX])
{
    size_t used = REQUEST_HEAD;
    if (request->count > MESSAGE_WORDS)
        return -E2BIG;
    for (int i = 0; i < request->count; i++) {
        size_t size = strlen(request->words[i]) + 1;
        if (size > MESSAGE_REQUEST_MAX - used)
            return -E2BIG;
        memcpy(bytes + used, request->words[i], size);
        used += size;
    }
    write_length(bytes, (uint32_t)(used - LENGTH_SIZE));
    bytes[LENGTH_SIZE] = (uint8_t)request->flags;
    return (int)used;
}

void message_write_head(const struct message_frame *frame, uint8_t head[static MESSAGE_HEAD])
{
    head[0] = frame->type;
    write_length(head + 1, frame->length);
}

void message_read_head(struct message_frame *frame, const uint8_t head[static MESSAGE_HEAD])
{
    frame->type = head[0];
    frame->length = read_length(head + 1);
}
