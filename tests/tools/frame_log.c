/* Writes every frame an interface sends or receives as one line of hexadecimal digits, until it is
 * ended. For tests that look at what is on the wire. Usage: frame_log INTERFACE FILE */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_tap(const char *name)
{
    struct sockaddr_ll sa = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_ALL),
                             .sll_ifindex = (int)if_nametoindex(name)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    if (fd < 0 || sa.sll_ifindex == 0 || bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0) {
        perror(name);
        return -1;
    }
    return fd;
}

int main(int argc, char **argv)
{
    static uint8_t frame[65536];
    if (argc != 3) {
        fprintf(stderr, "usage: frame_log INTERFACE FILE\n");
        return 2;
    }
    int fd = open_tap(argv[1]);
    FILE *out = fopen(argv[2], "w");
    if (fd < 0 || out == NULL)
        return 1;
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        ssize_t n = recv(fd, frame, sizeof(frame), 0);
        for (ssize_t i = 0; i < n; i++)
            fprintf(out, "%02x", frame[i]);
        if (n > 0)
            fputc('\n', out);
        fflush(out);
    }
}
