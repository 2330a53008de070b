#include "proxy.h"

#include "../base/units.h"

#include <arpa/inet.h>
#include <string.h>

/* The section numbers are those of the specification, HAProxy's doc/proxy-protocol.txt. */

static const uint8_t text_begin[] = "PROXY ";
static const uint8_t signature[] = {'\r', '\n', '\r', '\n', 0,   '\r',
                                    '\n', 'Q',  'U',  'I',  'T', '\n'};

enum { TEXT_BEGIN = sizeof text_begin - 1, COMMAND_AT = sizeof signature, FAMILY_AT, LENGTH_AT };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static unsigned read_16(const uint8_t *bytes)
{
    return (unsigned)(bytes[0] << 8 | bytes[1]);
}

/* --- where a header ends ------------------------------------------------------------------- */

/* 2.1: the line ends with the first CR LF, within 107 bytes. A LF without a CR is an error. */
static bool measure_text(const uint8_t *bytes, size_t seen, struct proxy_extent *extent)
{
    size_t most = least(seen, PROXY_TEXT_MAX);
    const uint8_t *end = memchr(bytes, '\n', most);
    if (!end && most == PROXY_TEXT_MAX)
        return false;
    if (end && (end == bytes || end[-1] != '\r'))
        return false;
    extent->certain = end ? (size_t)(end - bytes) + 1 : most;
    extent->whole = end != NULL;
    extent->whole_size = end ? extent->certain : 0;
    return true;
}

/* 2.2: the last two of the first 16 bytes are the length of the rest. */
static bool measure_binary(const uint8_t *bytes, size_t seen, struct proxy_extent *extent)
{
    if (seen > COMMAND_AT && bytes[COMMAND_AT] >> 4 != 2)
        return false;
    if (seen < PROXY_FIXED) {
        *extent = (struct proxy_extent){.certain = seen};
        return true;
    }
    size_t whole = PROXY_FIXED + read_16(bytes + LENGTH_AT);
    *extent = (struct proxy_extent){least(seen, whole), seen >= whole, whole};
    return true;
}

bool proxy_measure(const uint8_t *bytes, size_t seen, struct proxy_extent *extent)
{
    if (memcmp(bytes, signature, least(seen, sizeof signature)) == 0)
        return measure_binary(bytes, seen, extent);
    return memcmp(bytes, text_begin, least(seen, TEXT_BEGIN)) == 0 &&
           measure_text(bytes, seen, extent);
}

/* --- version 1 ----------------------------------------------------------------------------- */

/* The text up to the next blank; "" if there is no blank. Skips both. */
static const char *next_word(char **rest)
{
    char *blank = strchr(*rest, ' ');
    char *word = *rest;
    if (!blank)
        return "";
    *blank = '\0';
    *rest = blank + 1;
    return word;
}

static bool read_port(const char *text, unsigned *port)
{
    uint64_t number;
    if (!digits_read(text, 65535, &number))
        return false;
    *port = (unsigned)number;
    return true;
}

/* inet_pton(3) accepts what 2.1 requires: no leading zeroes, no blanks. It also accepts IPv6
 * addresses that end as IPv4 ones. Proxies send these for mapped addresses, because inet_ntop(3)
 * writes them so. */
static bool read_ip(struct addr *addr, int family, const char *ip, const char *port_text)
{
    uint8_t bytes[16];
    unsigned port;
    if (inet_pton(family, ip, bytes) != 1 || !read_port(port_text, &port))
        return false;
    addr_from_bytes(addr, family, bytes, port);
    return true;
}

static const char *read_text(const uint8_t *bytes, size_t size, struct proxy_header *header)
{
    char line[PROXY_TEXT_MAX + 1];
    size_t length = size - TEXT_BEGIN - 2; /* without the line's end */
    memcpy(line, bytes + TEXT_BEGIN, length);
    line[length] = '\0';
    header->proxied = false;
    if (strncmp(line, "UNKNOWN", 7) == 0 && (length == 7 || line[7] == ' '))
        return NULL; /* 2.1: the rest of the line must be ignored */
    if (strlen(line) != length)
        return "a NUL byte in it";
    char *rest = line;
    const char *protocol = next_word(&rest);
    int family = strcmp(protocol, "TCP4") == 0 ? AF_INET : AF_INET6;
    if (family == AF_INET6 && strcmp(protocol, "TCP6") != 0)
        return "neither TCP4 nor TCP6 nor UNKNOWN";
    const char *source = next_word(&rest), *destination = next_word(&rest);
    const char *port = next_word(&rest);
    if (!read_ip(&header->source, family, source, port) ||
        !read_ip(&header->destination, family, destination, rest))
        return "addresses that are none";
    header->proxied = true;
    return NULL;
}

/* --- version 2 ----------------------------------------------------------------------------- */

enum { COMMAND_LOCAL = 0, COMMAND_PROXY = 1 };
enum { FAMILY_UNSPEC, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX, FAMILIES };
enum { TRANSPORT_UNSPEC, TRANSPORT_STREAM, TRANSPORT_DGRAM, TRANSPORTS };
enum { UNIX_NAME = 108, TLV_HEAD = 3, TLV_CRC32C = 0x03, CHECKSUM = 4 };

static const size_t address_sizes[FAMILIES] = {
    [FAMILY_INET] = 2 * 4 + 2 * 2,
    [FAMILY_INET6] = 2 * 16 + 2 * 2,
    [FAMILY_UNIX] = 2 * UNIX_NAME,
};

uint32_t proxy_checksum(uint32_t before, const uint8_t *bytes, size_t size)
{
    uint32_t crc = ~before;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0); /* RFC 4960, Appendix B */
    }
    return ~crc;
}

/* 2.2.3: the checksum covers the whole header, with zeroes in place of the checksum. */
static bool is_checksum(const uint8_t *bytes, size_t size, size_t at)
{
    static const uint8_t zeroes[CHECKSUM];
    uint32_t crc = proxy_checksum(0, bytes, at), sent;
    crc = proxy_checksum(crc, zeroes, sizeof zeroes);
    crc = proxy_checksum(crc, bytes + at + CHECKSUM, size - at - CHECKSUM);
    memcpy(&sent, bytes + at, sizeof sent);
    return ntohl(sent) == crc;
}

/* Checks the TLVs (type, length, value) behind the addresses. */
static const char *check_tlvs(const uint8_t *bytes, size_t size, size_t at)
{
    bool summed = false;
    while (at < size) {
        if (size - at < TLV_HEAD || size - at - TLV_HEAD < read_16(bytes + at + 1))
            return "a value that goes beyond its end";
        size_t length = read_16(bytes + at + 1), value = at + TLV_HEAD;
        if (bytes[at] == TLV_CRC32C) {
            if (summed || length != CHECKSUM)
                return "a checksum of a wrong size, or a second one";
            if (!is_checksum(bytes, size, value))
                return "a checksum that is not its own";
            summed = true;
        }
        at = value + length;
    }
    return NULL;
}

/* Reads a path up to its NUL, an abstract name without the zeroes that fill its field, or an empty
 * name. */
static void set_unix(struct addr *addr, const uint8_t *field)
{
    size_t length = UNIX_NAME;
    while (length && field[length - 1] == 0)
        length--;
    if (field[0])
        length = strnlen((const char *)field, UNIX_NAME);
    *addr = (struct addr){.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)};
    addr->un.sun_family = AF_UNIX;
    memcpy(addr->un.sun_path, field, length);
}

static void read_addresses(const uint8_t *at, int family, struct proxy_header *header)
{
    size_t ip = family == FAMILY_INET ? 4 : 16;
    int domain = family == FAMILY_INET ? AF_INET : AF_INET6;
    if (family == FAMILY_UNIX) {
        set_unix(&header->source, at);
        set_unix(&header->destination, at + UNIX_NAME);
        return;
    }
    addr_from_bytes(&header->source, domain, at, read_16(at + 2 * ip));
    addr_from_bytes(&header->destination, domain, at + ip, read_16(at + 2 * ip + 2));
}

/* The addresses count even if the transport is DGRAM: the proxy turned datagrams into a stream. */
static const char *read_binary(const uint8_t *bytes, size_t size, struct proxy_header *header)
{
    int command = bytes[COMMAND_AT] & 15;
    int family = bytes[FAMILY_AT] >> 4, transport = bytes[FAMILY_AT] & 15;
    header->proxied = false;
    if (command == COMMAND_LOCAL)
        return NULL; /* 2.2: the rest must be ignored */
    if (command != COMMAND_PROXY)
        return "a command that is neither LOCAL nor PROXY";
    if (family >= FAMILIES || transport >= TRANSPORTS)
        return "a family or a protocol that there is not";
    if (family == FAMILY_UNSPEC || transport == TRANSPORT_UNSPEC)
        return NULL;
    if (size - PROXY_FIXED < address_sizes[family])
        return "less room than its addresses need";
    const char *fault = check_tlvs(bytes, size, PROXY_FIXED + address_sizes[family]);
    if (fault)
        return fault;
    read_addresses(bytes + PROXY_FIXED, family, header);
    header->proxied = true;
    return NULL;
}

const char *proxy_read(const uint8_t *bytes, size_t size, struct proxy_header *header)
{
    return bytes[0] == text_begin[0] ? read_text(bytes, size, header)
                                     : read_binary(bytes, size, header);
}
