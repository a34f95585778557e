function gray_codes(bits){
    if (bits === 0) {
        return [''];
    }
    const shorter = gray_codes(bits - 1);
    return [...shorter.map((code) => '0' + code), ...shorter.reverse().map((code) => '1' + code)];
}
