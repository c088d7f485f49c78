{ lib, stdenv, cmake, ninja, pkg-config, libuv, libsodium, gnutls, ngtcp2-gnutls, nghttp3, libcbor
, sqlite, libmicrohttpd, jansson, libyaml, qrencode, avahi, runTests ? false }:

stdenv.mkDerivation {
  pname = "peerix";
  version = "0.1.0";
  src = lib.cleanSource ../.;

  nativeBuildInputs = [ cmake ninja pkg-config ];
  buildInputs = [
    libuv libsodium gnutls ngtcp2-gnutls nghttp3 libcbor sqlite libmicrohttpd jansson libyaml qrencode
    avahi
  ];

  cmakeFlags = [
    "-DCMAKE_BUILD_TYPE=RelWithDebInfo"
    "-DPX_WERROR=OFF"
    "-DPX_TESTS=${if runTests then "ON" else "OFF"}"
  ];
  doCheck = runTests;

  meta = {
    description = "Your machines as one Nix binary cache, over any network";
    license = lib.licenses.asl20;
    platforms = lib.platforms.linux;
    mainProgram = "peerix";
  };
}
