/* The smallest program: sends one word of five bytes to its client, and exits. */
#include <unistd.h>

int main(void)
{
    return write(STDOUT_FILENO, "hello", 5) == 5 ? 0 : 1;
}
