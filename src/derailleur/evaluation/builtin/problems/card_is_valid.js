function card_is_valid(card){
    const digits = [...card.replaceAll(' ', '')].reverse().map(Number);
    let total = 0;
    digits.forEach((digit, place) => {
        const doubled = 2 * digit > 9 ? 2 * digit - 9 : 2 * digit;
        total += place % 2 === 1 ? doubled : digit;
    });
    return digits.length > 0 && total % 10 === 0;
}
