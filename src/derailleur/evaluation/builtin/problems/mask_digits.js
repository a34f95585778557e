function mask_digits(text, visible){
    let left = text.replace(/\D/g, '').length - visible;
    return text.replace(/\d/g, (digit) => (left-- > 0 ? '*' : digit));
}
