#include "request.h"

#include "../base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SENTENCE_MAX = 1024 };

void request_init(struct request *request, const struct message_request *words, pid_t pid,
                  uid_t uid)
{
    *request = (struct request){.pid = pid, .uid = uid};
    for (int i = 0; i < words->count; i++)
        if (strcmp(words->words[i], "--json") == 0)
            request->json = true;
        else
            request->words.words[request->words.count++] = words->words[i];
}

void request_done(struct request *request)
{
    buffer_done(&request->said);
    buffer_done(&request->failed);
    *request = (struct request){0};
}

const char *request_argument(const struct request *request, int number)
{
    return request && number < request->words.count ? request->words.words[number] : NULL;
}

void request_say(struct request *request, const char *format, ...)
{
    char sentence[SENTENCE_MAX];
    va_list args;
    if (!request)
        return;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    buffer_print(&request->said, "%s\n", sentence);
}

void request_give(struct request *request, char *text)
{
    if (text) {
        buffer_add(&request->said, text, strlen(text));
        request->whole = true;
    } else {
        request_fail(request, "out of memory");
    }
    free(text);
}

__attribute__((format(printf, 3, 0))) static void fail(struct request *request, int status,
                                                       const char *format, va_list args)
{
    char sentence[SENTENCE_MAX];
    vsnprintf(sentence, sizeof sentence, format, args);
    if (!request) {
        log_notice("%s", sentence);
        return;
    }
    buffer_print(&request->failed, "%s\n", sentence);
    request->status = status;
}

void request_fail(struct request *request, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(request, MESSAGE_REFUSED, format, args);
    va_end(args);
}

void request_misuse(struct request *request, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(request, MESSAGE_USAGE, format, args);
    va_end(args);
}

void request_wait(struct request *request, request_wait_fn *wait)
{
    if (request)
        request->wait = wait;
}

/* The text without its last newline. */
static void add_json_text(struct buffer *json, const char *name, const struct buffer *text)
{
    size_t size = text->used && text->at[text->used - 1] == '\n' ? text->used - 1 : text->used;
    buffer_print(json, ",\"%s\":", name);
    buffer_add_quoted(json, text->at, size);
}

/* Makes a JSON object of an answer that is text. */
static void wrap(struct request *request)
{
    struct buffer json = {0};
    buffer_print(&json, "{\"ok\":%s", request->status == MESSAGE_DONE ? "true" : "false");
    add_json_text(&json, "text", &request->said);
    if (request->failed.used)
        add_json_text(&json, "error", &request->failed);
    buffer_print(&json, "}\n");
    json.cut = json.cut || request->said.cut || request->failed.cut;
    buffer_done(&request->said);
    buffer_done(&request->failed);
    request->said = json;
}

void request_reply(struct request *request, struct buffer *reply)
{
    if (request->json && !request->whole)
        wrap(request);
    if (request->said.cut || request->failed.cut ||
        request->said.used + request->failed.used > BUFFER_MAX - MESSAGE_HEAD) {
        buffer_done(&request->said);
        buffer_done(&request->failed);
        request_fail(request, "the answer is too long");
    }
    const struct message_head head = {(enum message_status)request->status, request->said.used,
                                      request->failed.used};
    char line[MESSAGE_HEAD];
    buffer_add(reply, line, (size_t)message_write_head(&head, line));
    buffer_add(reply, request->said.at, request->said.used);
    buffer_add(reply, request->failed.at, request->failed.used);
}
