/* A program that reports READY=1 and nothing else. It runs in another root directory, with the C
 * library only. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *address = getenv("NOTIFY_SOCKET");
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    size_t length = address ? strlen(address) : 0;
    if (fd < 0 || length < 2 || length > sizeof to.sun_path || address[0] != '@')
        return 1;
    memcpy(to.sun_path + 1, address + 1, length - 1);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (sendto(fd, "READY=1", 7, 0, (struct sockaddr *)&to, size) != 7)
        return 2;
    while (1)
        pause();
}
