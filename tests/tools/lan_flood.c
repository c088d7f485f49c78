/* A stranger on the link who sends announcements that fit no peer, as fast as it can, each from
 * another address of the network. Usage: lan_flood NETWORK-PREFIX24 PORT SECONDS, e.g. 10.77.1
 * 12305 5 Prints how many went out. Needs a raw socket. */
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BODY 1044 /* an announcement of 128 tags */

struct packet {
    struct iphdr ip;
    struct udphdr udp;
    uint8_t body[BODY];
};

static void fill(struct packet *p, in_addr_t network, uint16_t port)
{
    memset(p, 0, sizeof(*p));
    p->ip = (struct iphdr){.version = 4,
                           .ihl = sizeof(p->ip) / 4,
                           .ttl = 1,
                           .protocol = IPPROTO_UDP,
                           .saddr = network,
                           .daddr = inet_addr("239.255.48.17")};
    p->udp.source = p->udp.dest = htons(port);
    p->udp.len = htons(sizeof(p->udp) + BODY); /* without a checksum, as IPv4 allows */
    p->body[0] = 1;
    p->body[3] = 1;
}

static uint64_t seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec;
}

int main(int argc, char **argv)
{
    struct packet p;
    char text[40];
    uint64_t sent = 0;
    if (argc != 4) {
        fprintf(stderr, "usage: lan_flood NETWORK-PREFIX24 PORT SECONDS\n");
        return 2;
    }
    snprintf(text, sizeof(text), "%s.0", argv[1]);
    fill(&p, inet_addr(text), (uint16_t)strtoul(argv[2], NULL, 10));
    int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {p.ip.daddr}};
    if (fd < 0) {
        perror("socket");
        return 1;
    }
    for (uint64_t i = 0, end = seconds() + strtoul(argv[3], NULL, 10);
         i % 256 != 0 || seconds() < end; i++) {
        memcpy(p.body + 4, &i, sizeof(i)); /* the nonce */
        p.ip.saddr = (p.ip.saddr & htonl(0xffffff00)) | htonl((uint32_t)(10 + i % 200));
        sent += sendto(fd, &p, sizeof(p), 0, (const struct sockaddr *)&to, sizeof(to)) > 0 ? 1 : 0;
    }
    printf("sent %llu\n", (unsigned long long)sent);
    return 0;
}
